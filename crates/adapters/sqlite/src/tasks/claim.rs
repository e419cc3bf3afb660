//! Handing tasks out.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use rusqlite::Connection;
use statehouse_contracts::{Claim, ClaimRequest, Lease, Result, Task, TaskState};

use super::{
    MAX_CLAIM, MAX_PAGE_BYTES, SqliteTasks,
    clock::Clock,
    node::{self, Node},
    read, stack,
    token::Token,
};
use crate::{
    engine::Tx,
    error::Failure,
    session::Session,
    time::{after, deadline},
};

/// A task that was handed out.
#[derive(Debug)]
struct Taken {
    task: Task,
    token: Token,
    outcomes: Vec<statehouse_contracts::ChildOutcome>,
}

/// Claims what is ready, else waits for it.
pub(super) async fn claim(tasks: &SqliteTasks, request: ClaimRequest) -> Result<Vec<Claim>> {
    let session = &tasks.session;
    let channel = stack::channel(session.ns, request.stack.as_str());
    let until = deadline(request.wait);
    let request = Arc::new(request);
    // The first look needs no wake-ups, and finds something most of the time.
    let mut listener = None;
    loop {
        let asked = Instant::now();
        let taken = Handover::begin(tasks, &request).taken().await?;
        if !taken.is_empty() {
            let end = asked + request.lease;
            return taken.into_iter().map(|taken| taken.claim(end)).collect();
        }
        if tokio::time::Instant::now() >= until {
            return Ok(Vec::new());
        }
        match &mut listener {
            None => listener = Some(session.listen(&[channel])),
            Some(listener) => {
                session.wait(listener, until).await?;
            }
        }
    }
}

impl Taken {
    fn claim(self, deadline: Instant) -> Result<Claim> {
        Ok(Claim {
            task: self.task,
            lease: Lease {
                token: self.token.seal()?,
                deadline,
            },
            outcomes: self.outcomes,
        })
    }
}

type Taking = Pin<Box<dyn Future<Output = Result<Vec<Taken>>> + Send>>;

/// Tasks on their way to a caller. When the caller gives up meanwhile they are given back as they
/// were, and the attempt does not count.
struct Handover {
    session: Session,
    taking: Option<Taking>,
}

impl Handover {
    fn begin(tasks: &SqliteTasks, request: &Arc<ClaimRequest>) -> Self {
        let (session, clock) = (tasks.session.clone(), Arc::clone(&tasks.clock));
        let (of, request) = (session.clone(), Arc::clone(request));
        let job = move |tx: &Tx<'_>| take(tx, of.ns, &clock, &request);
        let by = session.clone();
        Self {
            session,
            taking: Some(Box::pin(async move {
                super::write_relaxed(&by, "claim", job).await
            })),
        }
    }

    async fn taken(mut self) -> Result<Vec<Taken>> {
        match &mut self.taking {
            Some(taking) => {
                let taken = taking.await;
                self.taking = None;
                taken
            }
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let Some(taking) = self.taking.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let session = self.session.clone();
        runtime.spawn(async move {
            let Ok(taken) = taking.await else { return };
            let tokens: Vec<Token> = taken.iter().map(|taken| taken.token).collect();
            if tokens.is_empty() {
                return;
            }
            let ns = session.ns;
            let job = move |tx: &Tx<'_>| {
                for token in &tokens {
                    if let Ok(node) = Node::held(tx, ns, *token)?.node() {
                        node.release(tx)?;
                    }
                }
                Ok(())
            };
            if let Err(error) = super::write_relaxed(&session, "claim", job).await {
                tracing::debug!(%error, "a claim that nobody waits for runs out by its lease");
            }
        });
    }
}

/// Leases the newest ready tasks.
fn take(
    tx: &Tx<'_>,
    ns: i64,
    clock: &Clock,
    request: &ClaimRequest,
) -> Result<Vec<Taken>, Failure> {
    node::tick(tx, clock)?;
    let Some(stack) = stack::find(tx, ns, &request.stack)? else {
        return Ok(Vec::new());
    };
    let end = after(tx.now(), request.lease);
    let mut taken = Vec::new();
    let mut room = MAX_PAGE_BYTES;
    for seq in read::ready(tx, stack, request.max.min(MAX_CLAIM))? {
        let nonce = lease(tx, seq, end, request)?;
        if let Some(one) = handed_out(tx, Token { seq, nonce })? {
            room = room.saturating_sub(read::size(&one.task));
            taken.push(one);
        }
        if room == 0 {
            break;
        }
    }
    if !taken.is_empty() {
        let number = i64::try_from(taken.len()).unwrap_or(i64::MAX);
        stack::count(tx, stack, TaskState::Ready, -number);
        stack::count(tx, stack, TaskState::Running, number);
        clock.set(end);
    }
    Ok(taken)
}

fn lease(tx: &Tx<'_>, seq: i64, end: i64, request: &ClaimRequest) -> rusqlite::Result<i64> {
    tx.prepare_cached(
        "UPDATE task SET state = 2, attempt = attempt + 1 - resumed, nonce = random(),
             wake_at = ?2, worker = ?3
         WHERE seq = ?1 RETURNING nonce",
    )?
    .query_row((seq, end, request.worker.as_str()), |row| row.get(0))
}

fn handed_out(connection: &Connection, token: Token) -> Result<Option<Taken>, Failure> {
    let Some(task) = read::by_seq(connection, token.seq)? else {
        return Ok(None);
    };
    Ok(Some(Taken {
        task,
        token,
        outcomes: read::outcomes(connection, token.seq)?,
    }))
}
