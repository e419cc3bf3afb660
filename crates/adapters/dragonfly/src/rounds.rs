//! Calls of many callers in one round trip.
//!
//! A call sets out at once while nothing of its lane is under way. What is called meanwhile waits
//! until that has come back, and then travels together. So a lone caller waits for nobody, and many
//! callers share what a script and a sync of the disk cost: with many round trips under way they would
//! be spread over more syncs. Some sorts of calls have two under way while many wait, so that the
//! server works at the one while this side deals with the other.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::outliving::Outliving;

/// A round trip that failed after so long is not followed by others: who waits has waited enough.
const LONG: Duration = Duration::from_secs(1);

/// A second round trip of a lane sets out when so many would be in each.
const ENOUGH: usize = 16;

/// How often those who call again are let come along, at most: others may go on calling for ever.
const PASSES: usize = 8;

/// A call that can travel with others.
pub(crate) trait Call: Send + Sized + 'static {
    /// What those that travel together have in common.
    type Lane: Clone + Eq + Hash + Send + 'static;
    /// What comes back. One that nobody waits for any more is dropped.
    type Answer: Send + 'static;

    /// The most weight of a round trip, unless one call alone has more.
    const MOST: usize;
    /// How many round trips of a lane may be under way at once, when enough callers wait.
    const ABREAST: usize = 1;
    /// Whether what comes back must be taken in although the caller has gone: dropping the answer
    /// puts it right.
    const OUTLIVES_CALLER: bool = false;

    /// How much of the round trip it takes.
    fn weight(&self) -> usize;

    /// Makes the round trip; one answer per call, in the same order.
    fn make(calls: Vec<Self>) -> impl Future<Output = Result<Vec<Self::Answer>>> + Send;
}

struct Waiting<C: Call> {
    call: C,
    answer: oneshot::Sender<Result<C::Answer>>,
}

/// A lane that has a round trip under way.
struct Queue<C: Call> {
    waiting: VecDeque<Waiting<C>>,
    under_way: usize,
}

impl<C: Call> Queue<C> {
    /// Lets one more wait. Before that takes more memory, those who have gone make place.
    fn push(&mut self, one: Waiting<C>) {
        if self.waiting.len() == self.waiting.capacity() {
            self.drop_gone();
            self.waiting.reserve(self.waiting.len() + 1);
        }
        self.waiting.push_back(one);
    }

    fn drop_gone(&mut self) {
        self.waiting.retain(|one| !one.answer.is_closed());
    }
}

type Lanes<C> = HashMap<<C as Call>::Lane, Queue<C>>;

/// One round trip less is under way in a lane.
fn leave<C: Call>(lanes: &mut Lanes<C>, lane: &C::Lane) {
    if let Some(queue) = lanes.get_mut(lane) {
        queue.under_way -= 1;
        if queue.under_way == 0 {
            lanes.remove(lane);
        }
    }
}

/// The round trips of one sort of calls.
pub(crate) struct Rounds<C: Call> {
    lanes: Arc<Mutex<Lanes<C>>>,
}

impl<C: Call> Default for Rounds<C> {
    fn default() -> Self {
        Self {
            lanes: Arc::default(),
        }
    }
}

impl<C: Call> fmt::Debug for Rounds<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rounds({} lanes)", self.lanes.lock().len())
    }
}

impl<C: Call> Rounds<C> {
    /// Makes a call. When this is dropped, the call may still be made.
    ///
    /// # Errors
    /// Those of the round trip. What was not under way when the server fell silent has done nothing.
    pub(crate) async fn call(&self, lane: C::Lane, call: C) -> Result<C::Answer> {
        match self.join(&lane, call) {
            Ok(question) => question.await.unwrap_or_else(|_| Err(given_up())),
            Err(call) => {
                let first = First(Some(Turns {
                    lanes: Arc::clone(&self.lanes),
                    lane,
                    over: false,
                }));
                if C::OUTLIVES_CALLER {
                    Outliving::new(first.make(call)).await
                } else {
                    first.make(call).await
                }
            }
        }
    }

    /// Waits with the others of the lane; gives the call back when nothing of it is under way, which
    /// it is from then on.
    fn join(&self, lane: &C::Lane, call: C) -> Result<Question<C>, C> {
        let mut lanes = self.lanes.lock();
        let Some(queue) = lanes.get_mut(lane) else {
            let queue = Queue {
                waiting: VecDeque::new(),
                under_way: 1,
            };
            lanes.insert(lane.clone(), queue);
            return Err(call);
        };
        let (answer, question) = oneshot::channel();
        queue.push(Waiting { call, answer });
        Ok(question)
    }
}

/// What a caller waits for who travels with others.
type Question<C> = oneshot::Receiver<Result<<C as Call>::Answer>>;

fn given_up() -> Error {
    Error::internal("a round trip was given up")
}

/// A call that sets out alone, in the caller's own task. However it ends, those who came meanwhile
/// travel next.
struct First<C: Call>(Option<Turns<C>>);

impl<C: Call> First<C> {
    async fn make(self, call: C) -> Result<C::Answer> {
        let begun = Instant::now();
        let made = C::make(vec![call]).await;
        if let (Err(error), Some(turns)) = (&made, &self.0) {
            turns.failed(error, begun);
        }
        let mut answers = made?;
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) => Ok(answer),
            _ => Err(Error::internal("a round trip lost an answer")),
        }
    }
}

impl<C: Call> Drop for First<C> {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        let alone = {
            let mut lanes = turns.lanes.lock();
            let queue = lanes.get(&turns.lane);
            let alone = queue.is_none_or(|queue| queue.waiting.is_empty());
            if alone {
                leave(&mut lanes, &turns.lane);
            }
            alone
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !alone => drop(runtime.spawn(turns.take())),
            // Nobody waits, or nothing runs any more that could answer.
            _ => turns.end(alone),
        }
    }
}

/// One round trip of a lane after the other, until nobody waits.
struct Turns<C: Call> {
    lanes: Arc<Mutex<Lanes<C>>>,
    lane: C::Lane,
    over: bool,
}

impl<C: Call> Turns<C> {
    async fn take(mut self) {
        loop {
            self.gather().await;
            let Some(waiting) = self.next() else { break };
            let begun = Instant::now();
            let (calls, callers): (Vec<C>, Vec<_>) = waiting
                .into_iter()
                .map(|waiting| (waiting.call, waiting.answer))
                .unzip();
            // A caller who has gone drops the answer.
            match C::make(calls).await {
                Ok(answers) if answers.len() == callers.len() => {
                    for (caller, answer) in callers.into_iter().zip(answers) {
                        let _ = caller.send(Ok(answer));
                    }
                }
                Ok(_) => tell_all(callers, &Error::internal("a round trip lost an answer")),
                Err(error) => {
                    self.failed(&error, begun);
                    tell_all(callers, &error);
                }
            }
        }
    }

    /// Lets those who were just answered call again, as they often do, so that they come along: as
    /// long as more of them do, and no round trip is full.
    async fn gather(&mut self) {
        let (mut before, mut weight) = (0, self.waiting().1);
        for _ in 0..PASSES {
            if weight >= C::MOST {
                return;
            }
            tokio::task::yield_now().await;
            let now = self.waiting();
            if now.0 <= before {
                return;
            }
            (before, weight) = now;
        }
    }

    /// How many wait, and what they weigh together.
    fn waiting(&mut self) -> (usize, usize) {
        let mut lanes = self.lanes.lock();
        let Some(queue) = lanes.get_mut(&self.lane) else {
            return (0, 0);
        };
        queue.drop_gone();
        let weights = queue.waiting.iter().map(|one| one.call.weight());
        (queue.waiting.len(), weights.fold(0, usize::saturating_add))
    }

    /// Those who travel next; `None` when this is over, since nobody waits.
    fn next(&mut self) -> Option<Vec<Waiting<C>>> {
        let mut lanes = self.lanes.lock();
        let queue = lanes.get_mut(&self.lane)?;
        queue.drop_gone();
        let splits = queue.under_way < C::ABREAST && queue.waiting.len() >= 2 * ENOUGH;
        let most = queue.waiting.len() / if splits { 2 } else { 1 };
        let (mut taken, mut weight) = (Vec::new(), 0_usize);
        while let Some(first) = queue.waiting.front() {
            weight = weight.saturating_add(first.call.weight());
            if !taken.is_empty() && (weight > C::MOST || taken.len() >= most) {
                break;
            }
            taken.extend(queue.waiting.pop_front());
        }
        if taken.is_empty() {
            self.over = true;
            leave(&mut lanes, &self.lane);
            return None;
        }
        if splits {
            queue.under_way += 1;
            drop(lanes);
            let other = Self {
                lanes: Arc::clone(&self.lanes),
                lane: self.lane.clone(),
                over: false,
            };
            tokio::spawn(other.take());
        }
        Some(taken)
    }

    /// A round trip failed: turns away who waits, if that took long.
    fn failed(&self, error: &Error, begun: Instant) {
        if error.kind() != ErrorKind::Unavailable || begun.elapsed() < LONG {
            return;
        }
        let waiting = match self.lanes.lock().get_mut(&self.lane) {
            Some(queue) => std::mem::take(&mut queue.waiting),
            None => return,
        };
        let waiting = waiting.into_iter().map(|waiting| waiting.answer);
        tell_all(waiting, &error.replicate().with_ambiguous(false));
    }
}

impl<C: Call> Turns<C> {
    /// Ends without a turn; `over` when the lane was given up already.
    fn end(mut self, over: bool) {
        self.over = over;
    }
}

impl<C: Call> Drop for Turns<C> {
    fn drop(&mut self) {
        if !self.over {
            // Whoever waits is given up.
            let mut lanes = self.lanes.lock();
            let queue = lanes.get_mut(&self.lane);
            let waiting = queue.map(|queue| std::mem::take(&mut queue.waiting));
            leave(&mut lanes, &self.lane);
            drop(lanes);
            drop(waiting);
        }
    }
}

fn tell_all<A>(callers: impl IntoIterator<Item = oneshot::Sender<Result<A>>>, error: &Error) {
    for caller in callers {
        // A caller who has gone misses it.
        let _ = caller.send(Err(error.replicate()));
    }
}

#[cfg(test)]
mod tests;
