//! A real server that speaks S3, in a process of its own: moto, which `cargo xtask test` installs where it can. It keeps its
//! objects in memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::guests;
use crate::network::Network;

/// The variable that names the server's program.
pub const PROGRAM_VARIABLE: &str = "RINGSIDE_OBJECT_SERVER";

/// Who owns the bucket; the server checks no signature.
const OWNER: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A server with one bucket; it ends with the value.
pub struct ObjectServer {
    process: Child,
    address: String,
}

impl ObjectServer {
    /// The bucket.
    pub const BUCKET: &str = "studio";

    /// Starts one on loopback, on a port that is free, and waits until it answers.
    ///
    /// # Errors
    /// Why this machine has none.
    ///
    /// # Panics
    /// If it is there and does not work.
    pub fn start() -> Result<ObjectServer, String> {
        ObjectServer::start_with(|program: &Path| Command::new(program), "127.0.0.1")
    }

    /// The same on a host of a network.
    ///
    /// # Errors
    /// Why this machine has none.
    ///
    /// # Panics
    /// If it is there and does not work.
    pub fn start_at(network: &Network, host: u8) -> Result<ObjectServer, String> {
        let within = |program: &Path| {
            let mut within = Command::new("ip");
            within.args(["netns", "exec", &network.namespace(host)]).arg(program);
            within
        };
        ObjectServer::start_with(within, &network.address(host).to_string())
    }

    fn start_with(run: impl FnOnce(&Path) -> Command, address: &str) -> Result<ObjectServer, String> {
        let own = guests::program().ancestors().nth(2).map(|target| target.join("tools/moto/bin/moto_server"));
        let program = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from).or(own).filter(|program| program.exists());
        let Some(program) = program else {
            return Err("moto is not installed (`pip install moto flask flask-cors`)".to_owned());
        };
        let mut process = run(&program)
            .args(["-H", address, "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut said = String::new();
        let address = lines.by_ref().find_map(|line| {
            said.push_str(&line);
            line.split_once("Running on http://").map(|(_, address)| address.trim().to_owned())
        });
        let Some(address) = address else { panic!("the server did not come up: {said}") };
        // It would wait for somebody who reads what it logs.
        std::thread::spawn(move || lines.for_each(drop));
        let server = ObjectServer { process, address };
        server.ask("PUT", &format!("/{}", Self::BUCKET));
        Ok(server)
    }

    /// What a node's environment must say to use it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// The names of all objects in its bucket.
    pub fn objects(&self) -> Vec<String> {
        let listing = self.ask("GET", &format!("/{}?list-type=2&max-keys=1000", Self::BUCKET));
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// The bytes of an object.
    pub fn get(&self, name: &str) -> Vec<u8> {
        self.exchange("GET", &format!("/{}/{name}", Self::BUCKET), b"")
    }

    /// Replaces the bytes of an object.
    pub fn put(&self, name: &str, body: &[u8]) {
        self.exchange("PUT", &format!("/{}/{name}", Self::BUCKET), body);
    }

    /// Makes an object of these bytes; false if there is one of that name.
    pub fn create(&self, name: &str, body: &[u8]) -> bool {
        let path = format!("/{}/{name}", Self::BUCKET);
        let answer = self.talk("PUT", &path, "if-none-match: *\r\n", body);
        match answer.starts_with(b"HTTP/1.1 412") {
            true => false,
            false => {
                assert!(answer.starts_with(b"HTTP/1.1 2"), "PUT {path}: {}", String::from_utf8_lossy(&answer));
                true
            }
        }
    }

    /// Takes an object away.
    pub fn delete(&self, name: &str) {
        self.ask("DELETE", &format!("/{}/{name}", Self::BUCKET));
    }

    /// Sends it a signal: a server that is stopped answers nobody.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the server is there to get {signal}");
    }

    fn ask(&self, method: &str, path: &str) -> String {
        String::from_utf8(self.exchange(method, path, b"")).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// What it answers to a request, without the head.
    fn exchange(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let answer = self.talk(method, path, "", body);
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        match head.filter(|_| answer.starts_with(b"HTTP/1.1 2")) {
            Some(end) => answer[end + 4..].to_vec(),
            None => panic!("{method} {path}: {}", String::from_utf8_lossy(&answer)),
        }
    }

    fn talk(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let talk = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(&self.address)?;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {OWNER}\r\nconnection: close\r\n\
                 {headers}content-length: {}\r\n\r\n",
                self.address,
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        };
        talk().unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
