//! Handing tasks out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{Claim, ClaimRequest, Error, Result, TaskSettle};

use super::token::seed;
use super::{DragonflyTasks, MAX_PAGE_BYTES, Tasks, row, script};
use crate::outliving::Outliving;
use crate::reply::Reply;
use crate::time::{deadline, micros};

/// How long a claim waits without a look of its own: a wake-up may be lost with a connection.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What one look at a stack found.
#[derive(Debug, Default)]
struct Found {
    claims: Vec<Claim>,
    /// Microseconds until a delay or lease ends in the namespace; negative when none does.
    next_timer: i64,
    /// Whether ready tasks are left.
    more: bool,
}

/// Claims what is ready, else waits for it.
pub(super) async fn claim(tasks: &DragonflyTasks, request: ClaimRequest) -> Result<Vec<Claim>> {
    let until = deadline(request.wait);
    let request = Arc::new(request);
    // The first look needs no wake-ups, and finds something most of the time.
    let found = look(tasks, &request).await?;
    if !found.claims.is_empty() || request.wait.is_zero() {
        return Ok(found.claims);
    }
    let wakes = &tasks.wakes;
    let bell = wakes.bell(&tasks.inner, &request.stack).await?;
    loop {
        let mut rung = std::pin::pin!(bell.ring.notified());
        // From here on no ring is missed.
        rung.as_mut().enable();
        let found = look(tasks, &request).await?;
        wakes.timer_in(found.next_timer);
        if found.more {
            // Each ring wakes one worker: what it leaves is for the next.
            bell.ring.notify_one();
        }
        if !found.claims.is_empty() {
            return Ok(found.claims);
        }
        let end = until.min(tokio::time::Instant::now() + LOOK_AGAIN);
        tokio::select! {
            biased;
            () = tasks.inner.session.closed() => return Err(Error::closed()),
            () = &mut rung => {}
            () = tokio::time::sleep_until(end) => {
                if end == until {
                    return Ok(Vec::new());
                }
            }
        }
    }
}

async fn look(tasks: &DragonflyTasks, request: &Arc<ClaimRequest>) -> Result<Found> {
    let (tasks, request) = (Arc::clone(&tasks.inner), Arc::clone(request));
    let taking = Outliving::new(async move {
        let found = take(&tasks, &request).await?;
        Ok(Handed { found, tasks })
    });
    taking.await.map(Handed::found)
}

/// Tasks on their way to a caller. When the caller has gone they are given back as they were, and
/// the attempt does not count.
struct Handed {
    found: Found,
    tasks: Arc<Tasks>,
}

impl Handed {
    fn found(mut self) -> Found {
        std::mem::take(&mut self.found)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let claims = std::mem::take(&mut self.found.claims);
        if claims.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let tasks = Arc::clone(&self.tasks);
        let release = |claim: Claim| TaskSettle::Release {
            token: claim.lease.token,
        };
        let batch = claims.into_iter().map(release).collect();
        runtime.spawn(async move {
            if let Err(error) = tasks.settle(batch).await {
                tracing::debug!(%error, "a claim that nobody waits for runs out by its lease");
            }
        });
    }
}

/// Leases the newest ready tasks.
async fn take(tasks: &Tasks, request: &ClaimRequest) -> Result<Found> {
    let end = Instant::now() + request.lease;
    let arguments = vec![
        request.stack.as_str().into(),
        request.worker.as_str().into(),
        micros(request.lease).into(),
        (request.max as i64).into(),
        seed().into(),
        MAX_PAGE_BYTES.into(),
    ];
    let reply = tasks.call("claim", &script::CLAIM, arguments).await?;
    let mut row = reply.row()?;
    let (next_timer, left) = (row.number()?, row.number::<u64>()?);
    let claim = |reply: Reply| row::claim(reply, end);
    Ok(Found {
        next_timer,
        more: left > 0,
        claims: row.next()?.list()?.map(claim).collect::<Result<_>>()?,
    })
}
