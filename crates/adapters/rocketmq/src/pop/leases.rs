//! The leases that this process handed out or was shown: fencing by its own clock.
//!
//! The broker takes any token for good and answers `Ok` to stale ones, so what a token was used for
//! is remembered here, until a while after its lease.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use statehouse_contracts::{Error, ErrorKind, LeaseToken, Result, SettleAction};

use crate::pop::held::Content;
use crate::pop::token::Token;

/// How long after its end a lease is remembered, so that a repeat is told from a stale settle.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many leases are remembered after they were used.
const USED: usize = 50_000;

/// After how many further leases old ones are looked for.
const SWEEP: usize = 1024;

/// All leases of a backend, by token.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: HashMap<LeaseToken, Arc<Known>>,
    /// Those that were used, in this order.
    used: VecDeque<LeaseToken>,
    sweep_at: usize,
}

/// One lease.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) token: Token,
    pub(super) deadline: Instant,
    /// The message, where this process has it, until the lease is used.
    content: Mutex<Option<Arc<Content>>>,
    used: Mutex<Used>,
}

/// What a lease was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Used {
    No,
    /// A call is settling it.
    Now,
    For(Use),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Ack,
    Nack,
    DeadLetter,
    Extend,
}

impl Use {
    fn of(action: &SettleAction) -> Self {
        match action {
            SettleAction::Ack => Self::Ack,
            SettleAction::Nack { .. } => Self::Nack,
            SettleAction::DeadLetter { .. } => Self::DeadLetter,
            SettleAction::Extend { .. } => Self::Extend,
        }
    }
}

impl Leases {
    /// Remembers a lease.
    pub(super) fn add(
        &self,
        sealed: LeaseToken,
        token: Token,
        deadline: Instant,
        content: Option<Arc<Content>>,
    ) -> Arc<Known> {
        let known = Arc::new(Known {
            token,
            deadline,
            content: Mutex::new(content),
            used: Mutex::new(Used::No),
        });
        let mut table = self.0.lock();
        if table.known.len() >= table.sweep_at {
            let now = Instant::now();
            table
                .known
                .retain(|_, known| now < known.deadline + REMEMBERED);
            table.sweep_at = table.known.len() + SWEEP.max(table.known.len() / 2);
        }
        table.known.entry(sealed).or_insert(known).clone()
    }

    /// The lease was used.
    pub(super) fn done(&self, sealed: LeaseToken, using: Using) {
        using.done();
        let mut table = self.0.lock();
        table.used.push_back(sealed);
        if table.used.len() > USED
            && let Some(oldest) = table.used.pop_front()
        {
            table.known.remove(&oldest);
        }
    }

    /// The lease of this token; one that another process handed out is read from the token.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a token that was never handed out.
    pub(super) fn of(&self, sealed: &LeaseToken) -> Result<Arc<Known>> {
        if let Some(known) = self.0.lock().known.get(sealed) {
            return Ok(known.clone());
        }
        let token = Token::open(sealed)?;
        let deadline = token.deadline();
        Ok(self.add(sealed.clone(), token, deadline, None))
    }
}

/// Whether a lease may be used.
pub(super) enum Turn {
    /// Use it, and say how it went.
    Yours(Using),
    /// It was used for the same.
    Done,
}

/// The right to use a lease. Dropped without [`done`](Leases::done) it was not used.
pub(super) struct Using {
    known: Arc<Known>,
    action: Use,
    done: bool,
}

impl Using {
    fn done(mut self) {
        *self.known.used.lock() = Used::For(self.action);
        self.known.content.lock().take();
        self.done = true;
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        if !self.done {
            *self.known.used.lock() = Used::No;
        }
    }
}

impl Known {
    /// The message, where this process has it.
    pub(super) fn content(&self) -> Option<Arc<Content>> {
        self.content.lock().clone()
    }

    /// Takes the lease in use for `action`.
    ///
    /// # Errors
    /// [`LeaseLost`](ErrorKind::LeaseLost) when it is over or was used for something else;
    /// [`Overloaded`](ErrorKind::Overloaded) while another call uses it.
    pub(super) fn begin(self: &Arc<Self>, action: &SettleAction) -> Result<Turn> {
        let action = Use::of(action);
        let mut used = self.used.lock();
        match *used {
            Used::For(earlier) if earlier == action && action != Use::Extend => Ok(Turn::Done),
            Used::For(_) => Err(lost("its token was used before")),
            Used::Now => Err(Error::new(
                ErrorKind::Overloaded,
                "another call settles this delivery at the moment",
            )),
            Used::No if Instant::now() >= self.deadline => Err(lost("the lease has ended")),
            Used::No => {
                *used = Used::Now;
                Ok(Turn::Yours(Using {
                    known: self.clone(),
                    action,
                    done: false,
                }))
            }
        }
    }
}

/// [`LeaseLost`](ErrorKind::LeaseLost), and why.
pub(super) fn lost(why: &'static str) -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        format!("the delivery cannot be settled: {why}"),
    )
}
