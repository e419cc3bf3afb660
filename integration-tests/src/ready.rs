//! Waiting until a server answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{Published, fill};
use crate::table::Service;

const ONE_TRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the server that Docker publishes at `hosts` is ready; clients know it by `outside`.
pub(crate) async fn wait(service: &Service, outside: &Published, hosts: &Published) -> Result<()> {
    let ready = service.ready();
    let port = hosts.get(&ready.port).copied().unwrap_or_default();
    let (send, expect) = (fill(&ready.send, outside), fill(&ready.expect, outside));
    let deadline = Instant::now() + ready.within();
    loop {
        let answer = timeout(ONE_TRY, answers(port, send.as_bytes(), expect.as_bytes())).await;
        let why = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= deadline {
            let within = ready.within();
            let message = format!("{} is not ready within {within:?}: {why}", service.name());
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        // sleep: the pause of a poll that has a deadline
        sleep(PAUSE).await;
    }
}

async fn answers(port: u16, send: &[u8], expect: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(send).await?;
    let mut answer = Vec::new();
    while !answer.windows(expect.len()).any(|part| part == expect) {
        if stream.read_buf(&mut answer).await? == 0 {
            let text = String::from_utf8_lossy(&answer).into_owned();
            return Err(std::io::Error::other(format!("it answered {text:?}")));
        }
    }
    Ok(())
}
