//! The way from the command line to a node: through the state directory, or by URL and token.

use std::path::Path;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CliError, Common};
use crate::api::Failure;
use crate::http;
use crate::state_directory::{TOKEN_FILE, find_node};

/// Whether a URL is of a loopback address: the bearer token goes nowhere else.
fn is_loopback(url: &str) -> bool {
    let address = url.strip_prefix("http://").and_then(|rest| rest.parse::<std::net::SocketAddr>().ok());
    address.is_some_and(|address| address.ip().is_loopback())
}

/// A node that can be asked.
pub struct Connection {
    client: Client,
    base: String,
    token: String,
}

impl Connection {
    /// The node that the common options mean.
    ///
    /// # Errors
    /// What to tell the user; whether the node answers is not known yet.
    pub fn find(common: &Common) -> Result<Connection, CliError> {
        let (base, token) = match (&common.admin_url, &common.admin_token) {
            (Some(url), Some(token)) => (url.clone(), token_text(token)?),
            _ => {
                let state = common.state_of_node();
                let node = find_node(&state).map_err(|what| CliError::new("no_node", what, ""))?;
                if !is_loopback(&node.admin) {
                    return Err(CliError::new(
                        "bad_state",
                        format!(
                            "node.json in {} names {:?}, which is no loopback address",
                            state.display(),
                            node.admin
                        ),
                        "no node of this machine wrote it: name another state directory with --state",
                    ));
                }
                (node.admin, read_token(&state.join(TOKEN_FILE))?)
            }
        };
        if !base.starts_with("http://") {
            return Err(CliError::new(
                "bad_request",
                format!("admin URL {base:?} does not begin with http://"),
                "the admin API listens on loopback without encryption, such as http://127.0.0.1:7401",
            ));
        }
        let client = http::client()
            .no_proxy()
            .connect_timeout(std::time::Duration::from_secs(3))
            .timeout(std::time::Duration::from_secs(120))
            .build()
            .map_err(|error| CliError::new("internal", error.to_string(), ""))?;
        Ok(Connection { client, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// `GET`, answered with JSON.
    ///
    /// # Errors
    /// What the node or the way to it says.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Any method with a JSON body, answered with JSON.
    ///
    /// # Errors
    /// What the node or the way to it says.
    pub async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, CliError> {
        self.json(self.request(method, path).json(body)).await
    }

    /// `POST` of plain bytes, answered with JSON.
    ///
    /// # Errors
    /// What the node or the way to it says.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> Result<T, CliError> {
        self.json(self.request(Method::POST, path).body(bytes)).await
    }

    /// `GET`, answered with whatever comes.
    ///
    /// # Errors
    /// What the node or the way to it says.
    pub async fn download(&self, path: &str) -> Result<Response, CliError> {
        self.checked(self.request(Method::GET, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CliError> {
        let response = self.checked(request).await?;
        response.json().await.map_err(|error| {
            CliError::new("internal", format!("the node's answer is not understood: {error}"), "is it another release?")
        })
    }

    async fn checked(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let failure = response.json::<Failure>().await.ok();
        Err(failure.map_or_else(|| foreign(&self.base, status), CliError))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let why = if error.is_timeout() { "did not answer in time" } else { "does not answer" };
        CliError::new(
            "unreachable",
            format!("the node at {} {why}", self.base),
            "it may have crashed or just be starting: `ringside node` starts one; look at its log",
        )
    }
}

fn foreign(base: &str, status: StatusCode) -> CliError {
    CliError::new("internal", format!("{base} answers {status}: it does not look like a node of this release"), "")
}

fn token_text(token: &str) -> Result<String, CliError> {
    match token.strip_prefix('@') {
        Some(file) => read_token(Path::new(file)),
        None => Ok(token.to_owned()),
    }
}

fn read_token(file: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::new(
            "no_token",
            format!("cannot read the admin token {}: {error}", file.display()),
            "run as the user that runs the node",
        )
    })?;
    Ok(text.trim().to_owned())
}

/// One component of a path, with everything that could end it replaced.
pub fn component(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
