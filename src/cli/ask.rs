//! How commands ask the admin side of a running narthex.

use crate::config::SecretUrl;
use anyhow::{Context, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a running narthex may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const MOST: u64 = 16 << 20;

/// Flags that name the narthex to ask.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// Admin address of the narthex to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub admin: SecretUrl,
    /// File with the token of that narthex (its --admin-token-file)
    #[arg(long, env = "NARTHEX_ADMIN_TOKEN_FILE", value_name = "PATH")]
    pub admin_token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// Asks one question.
    ///
    /// # Errors
    /// When nobody answers, or something else than what was asked for.
    pub fn ask<T: DeserializeOwned>(&self, target: &str) -> anyhow::Result<T> {
        self.ask_or(target, "")
    }

    /// The same, with what to do if nobody answers.
    ///
    /// # Errors
    /// As for `ask`.
    pub fn ask_or<T: DeserializeOwned>(&self, target: &str, hint: &str) -> anyhow::Result<T> {
        let admin = &self.admin;
        let (status, body) = get_with(admin, target, &self.token()?, ANSWER_TIME)
            .with_context(|| format!("nobody answers at --admin {admin}{hint}"))?;
        if status != 200 {
            bail!("{admin} answered {status}: {}", body.trim());
        }
        serde_json::from_str(&body).with_context(|| format!("{admin} answered something else than was asked for"))
    }

    /// Listens to a stream of server-sent events until `hear` has enough: it gets the name and the data of each, and
    /// both empty when the stream begins.
    ///
    /// # Errors
    /// When nobody answers, something else comes than was asked for, or the stream ends.
    pub fn listen(
        &self,
        target: &str,
        mut hear: impl FnMut(&str, &str) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let admin = &self.admin;
        let nobody = || format!("nobody answers at --admin {admin}");
        let (mut stream, host) = connect(admin, ANSWER_TIME).with_context(nobody)?;
        write_request(&mut stream, &host, target, &self.token()?).with_context(nobody)?;
        let mut lines = BufReader::new(stream).lines();
        let ended = || format!("{admin} does not answer any more");
        let mut next = || lines.next().transpose().with_context(ended)?.with_context(ended);
        let status = next()?;
        while !next()?.is_empty() {}
        if status.split(' ').nth(1) != Some("200") {
            let rest: Vec<String> = std::iter::from_fn(|| next().ok()).collect();
            bail!(
                "{admin} answered {}: {}",
                status.split(' ').nth(1).unwrap_or("?"),
                rest.join(" ").trim()
            );
        }
        if hear("", "")?.is_break() {
            return Ok(());
        }
        let mut event = String::new();
        loop {
            let line = next()?;
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut event);
            } else if let Some(data) = line.strip_prefix("data: ")
                && hear(&event, data)?.is_break()
            {
                return Ok(());
            }
        }
    }

    fn token(&self) -> anyhow::Result<String> {
        let Some(path) = &self.admin_token_file else {
            return Ok(String::new());
        };
        let read = std::fs::read_to_string(path);
        let token = read.with_context(|| format!("--admin-token-file {}", path.display()))?;
        Ok(token.trim().to_owned())
    }
}

/// Text as a value in a question.
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Asks the admin side one question. It closes after the answer, so reading to the end is reading the answer.
///
/// # Errors
/// When it cannot be reached or does not speak HTTP.
pub fn get(admin: &SecretUrl, target: &str, patience: Duration) -> anyhow::Result<(u16, String)> {
    get_with(admin, target, "", patience)
}

fn get_with(admin: &SecretUrl, target: &str, token: &str, patience: Duration) -> anyhow::Result<(u16, String)> {
    let (stream, host) = connect(admin, patience)?;
    exchange(stream, &host, target, token)
}

/// A connection to the admin side, with the host that it is asked for.
fn connect(admin: &SecretUrl, patience: Duration) -> anyhow::Result<(TcpStream, String)> {
    let url = admin.reveal();
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if address.contains('@') {
        bail!(
            "the admin side knows no users: write http://HOST:PORT, and --admin-token-file PATH where it wants a token"
        );
    }
    let address = match address.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => address.replace("[::]:", "127.0.0.1:").replace("0.0.0.0:", "127.0.0.1:"),
    };
    let mut last = None;
    let found = std::net::ToSocketAddrs::to_socket_addrs(&address);
    for address in found.with_context(|| format!("{admin}: write HOST:PORT"))? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                return Ok((stream, address.to_string()));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("{admin} has no address"), anyhow::Error::from))
}

/// As [`get`], from a Unix socket.
///
/// # Errors
/// As for [`get`].
pub fn get_unix(path: &Path, target: &str, patience: Duration) -> anyhow::Result<(u16, String)> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    exchange(stream, "localhost", target, "")
}

fn exchange(mut stream: impl Read + Write, host: &str, target: &str, token: &str) -> anyhow::Result<(u16, String)> {
    write_request(&mut stream, host, target, token)?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("the answer is not HTTP")?, body.to_owned()))
}

/// Asks in HTTP/1.0, so that the answer comes as it is and ends with the connection.
fn write_request(stream: &mut impl Write, host: &str, target: &str, token: &str) -> std::io::Result<()> {
    let token = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n")
}
