//! Waiting until a server answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::BoxFuture;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::container::{Container, Plan};
use crate::ports::fill;
use crate::table::Service;

const ONE_TRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the server that Docker publishes at the plan's `hosts` is ready.
pub(crate) async fn wait(plan: &Plan) -> Result<()> {
    let (ready, outside) = (plan.service.ready(), &plan.outside);
    let port = plan.hosts.get(&ready.port).copied().unwrap_or_default();
    let (send, expect) = (fill(&ready.send, outside), fill(&ready.expect, outside));
    poll(plan.service, || {
        Box::pin(async {
            let answer = timeout(ONE_TRY, answers(port, send.as_bytes(), expect.as_bytes())).await;
            match answer {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            }
        })
    })
    .await
}

/// Waits until the container has said `text` more than `before` times.
pub(crate) async fn until_said(
    container: &Container,
    text: &str,
    before: usize,
    plan: &Plan,
) -> Result<()> {
    poll(plan.service, || {
        Box::pin(async {
            match container.says(text).await > before {
                true => Ok(()),
                false => Err(format!("it does not say {text:?}")),
            }
        })
    })
    .await
}

/// Looks again and again, for as long as the service may take.
async fn poll<'l>(
    service: &Service,
    look: impl Fn() -> BoxFuture<'l, std::result::Result<(), String>>,
) -> Result<()> {
    let within = service.ready().within();
    let deadline = Instant::now() + within;
    loop {
        let Err(why) = look().await else {
            return Ok(());
        };
        if Instant::now() >= deadline {
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
