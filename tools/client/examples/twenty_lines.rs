//! Joins a session and plays: prints what it sees, and answers every view with a move.
//! `twenty_lines ADDRESS TOKEN GAME/KEY`, against a node on this machine.
use ringside_client::{Client, Event, Options, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, target] = &words[..] else { return Err("ADDRESS TOKEN GAME/KEY".into()) };
    let options = Options::new([address.parse()?], Trust::InsecureLoopback, token, target)?;
    let mut client = Client::connect(options).await?;
    println!("{} is in slot {}", client.attachment().player, client.attachment().slot);
    while let Some(event) = client.next().await {
        match event {
            Event::View(view) => {
                println!("tick {}: {} bytes", view.tick, view.body.len());
                client.send_datagram([(view.tick % 3) as u8]).ok(); // pong: up, down, still
            }
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
