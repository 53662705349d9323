//! A node's admin API, asked from where the node runs.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde_json::Value;

/// How an admin API is reached.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    /// The network namespace whose loopback it listens on, if it is not the caller's own.
    pub namespace: Option<&'a str>,
    /// Its URL, as the node says when it is ready.
    pub url: &'a str,
    /// The node's state directory, which has its token.
    pub state: &'a Path,
}

impl Admin<'_> {
    /// What it answers to a request with this body, or none.
    ///
    /// # Errors
    /// Whatever it answers but 200, with its head; or why it was not asked.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<String, String> {
        let token = std::fs::read_to_string(self.state.join("admin.token")).map_err(|error| error.to_string())?;
        let host = self.url.strip_prefix("http://").unwrap_or(self.url);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            token.trim(),
            body.len(),
        );
        let answer = self.exchange(host, &request).map_err(|error| error.to_string())?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
            _ => Err(answer),
        }
    }

    /// Says something to a server there, and takes what it answers until it closes.
    fn exchange(&self, address: &str, request: &str) -> std::io::Result<String> {
        let talk = || -> std::io::Result<String> {
            if let Some(namespace) = self.namespace {
                let namespace = File::open(Path::new("/run/netns").join(namespace))?;
                // SAFETY: an open descriptor. It is this thread alone that goes there, and ends there.
                if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        std::thread::scope(|scope| scope.spawn(talk).join()).unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    }
}
