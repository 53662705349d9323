//! The two workers of an *available* session lose each other, and both go on. When they meet again one branch wins; what the
//! other was is handed over as a recording that folds to the same, and its player goes on in the branch that won.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use ringside_client::{Client, Event as Heard, Options, Trust};
use ringside_core::ids::SessionId;
use ringside_core::leadership::record::Member;
use ringside_core::recording::About;
use ringside_test_support::proxy::{Faults, Proxy};
use ringside_test_support::wait::PATIENCE;
use ringside_worker::Event;
use ringside_worker::replication::{Kept, Promoted};

use super::{Group, Told};
use crate::bench::{Bench, sign};

/// A player who says a word when it is told to, by one door and with no connection at a follower.
struct Speaker {
    /// None: it leaves.
    words: Option<tokio::sync::mpsc::UnboundedSender<Vec<u8>>>,
    heard: Receiver<Heard>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    fn start(group: &Group, name: &str, id: &SessionId, door: u64) -> Speaker {
        let token = sign(&group.signing, &Bench::claims(name));
        let doors = [group.running[&group.member(door)].handle.address()];
        let target = format!("{}/{}", id.game, id.key);
        let options = Options::new(doors, Trust::InsecureLoopback, token, &target).unwrap();
        let options = Options { standby: false, ..options };
        let (words, said) = tokio::sync::mpsc::unbounded_channel();
        let (tell, heard) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(speak(options, said, tell));
        });
        Speaker { words: Some(words), heard, thread: Some(thread) }
    }

    /// Says a word, and waits for its answer; whether the session went back meanwhile, and by how many of its messages.
    fn say(&self, group: &mut Group, word: &[u8]) -> Told {
        self.words.as_ref().unwrap().send(word.to_vec()).unwrap();
        let (mut told, mut is_answered) = (Told::default(), false);
        group.pump("an answer", || {
            while let Ok(heard) = self.heard.try_recv() {
                match heard {
                    Heard::Message { body, .. } => {
                        let reply: echo::Reply = postcard::from_bytes(&body).unwrap();
                        is_answered |= reply.body.0 == word;
                        told.replies += 1;
                    }
                    Heard::Rewound { lost_messages, .. } => told.rewound = Some(lost_messages),
                    other => assert!(!other.is_last(), "{other:?}"),
                }
            }
            is_answered
        });
        told
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.words = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn speak(options: Options, mut said: tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>, tell: Sender<Heard>) {
    let mut client = Client::connect(options).await.unwrap();
    loop {
        tokio::select! {
            word = said.recv() => {
                let Some(word) = word else { return };
                client.send(ringside_guest::encode(&ringside_guest::Bytes(word))).unwrap();
            }
            heard = client.next() => {
                if heard.is_none_or(|heard| tell.send(heard).is_err()) {
                    return;
                }
            }
        }
    }
}

impl Group {
    /// Waits until a node gives way and hands its branch over.
    fn until_kept(&mut self, node: u64) -> Box<Kept> {
        let loser = self.member(node);
        loop {
            self.until("the loser to give way", |from, event| {
                (matches!(event, Event::Kept(_)) && from == loser).then_some(())
            });
            if let Some((_, Event::Kept(branch))) = self.heard.pop() {
                return branch;
            }
        }
    }
}

/// A session of which both sides went on, and that meet again.
struct Forked {
    group: Group,
    id: SessionId,
    promoted: Promoted,
    /// At the first leader.
    ann: Speaker,
    /// At the follower that came to lead it.
    bob: Speaker,
    /// These two outlive the rest.
    _proxies: Vec<(Member, Proxy)>,
    _runtime: tokio::runtime::Runtime,
}

/// … after each side's player has said so many words.
fn forked(words: (u8, u8)) -> Forked {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut group = Group::start(2, "echo-replicated");
    let ports = group.running.iter().map(|(member, one)| (*member, one.handle.peer_address().unwrap()));
    let proxies: Vec<_> =
        ports.map(|(member, at)| (member, runtime.block_on(Proxy::start(at, Faults::default(), 1)).unwrap())).collect();
    let port = |member| proxies.iter().find(|(of, _)| *of == member).unwrap().1.address().port();
    group.introduce(|one| port(one.me));
    let id: SessionId = "echo-replicated/match-1@0000000000000001".parse().unwrap();
    group.create(&id, 1, &[2]);
    group.until_in_sync(&id, 1);
    let ann = Speaker::start(&group, "ann", &id, 1);
    assert_eq!(ann.say(&mut group, b"before").rewound, None);
    // He has a seat that both sides know, and comes back to it by the other.
    let bob = Speaker::start(&group, "bob", &id, 1);
    assert_eq!(bob.say(&mut group, b"before").rewound, None);
    drop(bob);

    // Home and the other node are on the follower's side.
    group.away.insert(group.member(1));
    assert!(proxies.iter().map(|(_, proxy)| proxy.cut_all(2 * PATIENCE)).sum::<usize>() > 0);
    for number in 0..words.0 {
        assert_eq!(ann.say(&mut group, &[b'a', number]).rewound, None);
    }
    let (leader, promoted) = group.until_promoted(&id);
    assert_eq!(leader, group.member(2));
    let bob = Speaker::start(&group, "bob", &id, 2);
    for number in 0..words.1 {
        assert_eq!(bob.say(&mut group, &[b'b', number]).rewound, None);
    }
    assert_eq!(ann.say(&mut group, b"alone again").rewound, None, "this side goes on as well");

    group.away.clear();
    for (_, proxy) in &proxies {
        proxy.clients().into_iter().for_each(|client| proxy.mend(client));
    }
    Forked { group, id, promoted, ann, bob, _proxies: proxies, _runtime: runtime }
}

#[test]
fn the_branch_that_lost_is_handed_over_and_its_player_goes_on_in_the_other() {
    let Forked { mut group, id, promoted, ann, bob, _proxies, _runtime } = forked((1, 20));
    let kept = group.until_kept(1);
    assert_eq!(kept.session, id);
    let About::Fork { fork, by, leader } = kept.about else { panic!("{:?}", kept.about) };
    assert!(
        leader == group.member(2) && by >= promoted.record.epoch && fork <= promoted.record.position,
        "{:?}",
        kept.about
    );
    let report = ringside_sandbox::replay_recording(&group.module, &kept.encode().unwrap()).unwrap();
    assert!(report.agrees(), "{report:?}");
    assert!(report.records > fork, "it has what only its side was told: {report:?}");
    assert_eq!(report.about, Some(kept.about));

    // Three words of hers were answered in that branch, of which the first came before the fork.
    let told = ann.say(&mut group, b"moved");
    assert_eq!(told.rewound, Some(0), "she is told, and what was answered is not taken for lost on the way");
    assert_eq!(group.leaders[&id], group.member(2));
    assert_eq!(bob.say(&mut group, b"both").rewound, None);
    assert_eq!(ann.say(&mut group, b"both").rewound, None);
}

#[test]
fn a_player_of_the_promoted_side_goes_on_where_the_first_leader_won() {
    let Forked { mut group, id, ann, bob, _proxies, _runtime, promoted: _ } = forked((20, 3));
    assert_eq!(group.until_kept(2).session, id);
    // He comes from a branch that began with a promotion, of which the line that goes on has nothing.
    let told = bob.say(&mut group, b"moved");
    assert_eq!(told.rewound, Some(0), "he is told, and nothing is taken for lost on the way");
    assert_eq!(ann.say(&mut group, b"both").rewound, None);
    assert_eq!(bob.say(&mut group, b"both").rewound, None);
}
