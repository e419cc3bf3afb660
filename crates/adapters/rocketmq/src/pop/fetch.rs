//! Asking the broker for a group's messages, and sorting what it hands out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use statehouse_contracts::{Error, ErrorKind, Result};

use crate::dead;
use crate::groups::Group;
use crate::notes;
use crate::pop::copy::give_again;
use crate::pop::engine::{Engine, HOLD, is_refusal};
use crate::pop::held::{Content, Held, Unread, Verdict};
use crate::pop::settle::acknowledge;
use crate::pop::source::{Ask, Place, Popped, Source, is_missing, pop};
use crate::session::Broker;

/// For how long a source that had nothing is not asked along with the others, while they have
/// something.
const QUIET: Duration = Duration::from_millis(30);

/// How long the broker may take to show what this process has just given back.
const SHOWN: Duration = Duration::from_millis(300);

/// What one question brought.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) deliver: Vec<Held>,
    dispose: Vec<(Held, Verdict)>,
    unread: Vec<Unread>,
    pub(super) error: Option<Error>,
}

impl Engine {
    /// Asks for messages when nobody else just did in vain, and puts them into the buffer.
    pub(super) async fn fetch(
        self: Arc<Self>,
        group: Arc<Group>,
        max: usize,
        lease: Duration,
    ) -> Result<()> {
        let wanted = Instant::now();
        let _one_at_a_time = self.asking.acquire().await;
        {
            let state = self.state.lock();
            let asked = state.nothing_since.is_some_and(|since| since > wanted);
            if !state.is_behind() && (asked || !state.buffer.is_empty()) {
                return Ok(());
            }
        }
        let began = Instant::now();
        let behind = self.caught_up();
        let brokers = self.cluster.client.brokers()?;
        let mut fetched = Fetched::default();
        for all in [false, true] {
            let asked = brokers
                .iter()
                .map(|broker| self.ask(broker, &group, max, lease, (behind, all)));
            for more in join_all(asked).await {
                fetched.add(more);
            }
            if fetched.has_something() {
                break;
            }
        }
        let nothing = fetched.deliver.is_empty();
        self.state.lock().nothing_since = nothing.then_some(began);
        let dispose = std::mem::take(&mut fetched.dispose);
        let unread = std::mem::take(&mut fetched.unread);
        let error = self.fetched(&group, fetched);
        if !dispose.is_empty() {
            self.clone().dispose(group.clone(), dispose).await;
            self.poke();
        }
        if !unread.is_empty() {
            self.bury_unread(&group, unread).await;
            self.poke();
        }
        match error {
            Some(error) => self.excuse(&group, error).await,
            None => Ok(()),
        }
    }

    /// Asks one broker: the sources that may have something, or in a second round `all` that were
    /// left out.
    async fn ask(
        &self,
        broker: &Broker,
        group: &Arc<Group>,
        max: usize,
        lease: Duration,
        (behind, all): (bool, bool),
    ) -> Fetched {
        let now = Instant::now();
        let quiet = self.state.lock().quiet.clone();
        let is_quiet = |source: Source| quiet.get(&source).is_some_and(|until| now < *until);
        let asked =
            |source: Source| is_quiet(source) == all && (!all || source != Source::Priority);
        let ask = Ask {
            max: self.appetite(group, max),
            invisible: lease + HOLD,
            wait: Duration::ZERO,
        };
        let again = Ask {
            wait: if behind { SHOWN } else { Duration::ZERO },
            ..ask
        };
        let again = self.ask_source(broker, group, Source::Again, again, 1, asked);
        let others = join(
            self.ask_source(broker, group, Source::Priority, ask, 1, asked),
            self.ask_source(broker, group, Source::Keyed, ask, max, asked),
        );
        let (again, (priority, keyed)) = join(again, others).await;
        let mut fetched = again;
        fetched.add(priority);
        fetched.add(keyed);
        fetched
    }

    /// Asks one source; of a source that hands out one message at a time, for `heads` of them.
    async fn ask_source(
        &self,
        broker: &Broker,
        group: &Arc<Group>,
        source: Source,
        ask: Ask,
        heads: usize,
        asked: impl Fn(Source) -> bool,
    ) -> Fetched {
        let mut fetched = Fetched::default();
        if !asked(source) {
            return fetched;
        }
        let rounds = if source.ordered(group) { heads } else { 1 };
        for round in 0..rounds {
            match pop(&self.cluster.client, broker, group, source, ask).await {
                Ok(popped) if popped.is_empty() => {
                    if round == 0 {
                        let until = Instant::now() + QUIET;
                        self.state.lock().quiet.insert(source, until);
                    }
                    break;
                }
                Ok(popped) => self.sort(group, source, popped, &mut fetched),
                Err(error) if source == Source::Again && is_missing(&error) => {
                    self.state
                        .lock()
                        .quiet
                        .insert(source, Instant::now() + QUIET);
                    break;
                }
                Err(error) => {
                    fetched.error = Some(error);
                    break;
                }
            }
        }
        fetched
    }

    /// Tells what is to be delivered from the rest.
    fn sort(&self, group: &Group, source: Source, popped: Vec<Popped>, fetched: &mut Fetched) {
        for popped in popped {
            match Held::read(popped) {
                Ok(mut held) => {
                    if source == Source::Keyed {
                        self.recall(&mut held.content);
                    }
                    match held.verdict(group) {
                        Verdict::Deliver => fetched.deliver.push(held),
                        verdict => fetched.dispose.push((held, verdict)),
                    }
                }
                Err(unread) => fetched.unread.push(*unread),
            }
        }
    }

    /// Deals with messages that are not to be delivered.
    pub(super) async fn dispose(self: Arc<Self>, group: Arc<Group>, held: Vec<(Held, Verdict)>) {
        let disposed = held
            .iter()
            .map(|(held, verdict)| self.dispose_one(&group, held, *verdict));
        for disposed in join_all(disposed).await {
            if let Err(error) = disposed {
                tracing::warn!(%error, group = %group.name, "a message stays until its lease ends");
            }
        }
    }

    /// Makes dead letters of what no handler could be given.
    async fn bury_unread(&self, group: &Group, all: Vec<Unread>) {
        for unread in all {
            let (error, place) = (&unread.error, &unread.popped.place);
            tracing::warn!(%error, group = %group.name, "a message cannot be read");
            let buried = async {
                let client = &self.cluster.client;
                let broker = client.broker(&place.broker)?;
                dead::bury_unread(client, &broker, group, &unread).await?;
                acknowledge(client, group, place).await
            };
            if let Err(error) = buried.await {
                tracing::warn!(%error, group = %group.name, "it stays until its lease ends");
            }
        }
    }

    async fn dispose_one(&self, group: &Group, held: &Held, verdict: Verdict) -> Result<()> {
        let client = &self.cluster.client;
        let broker = client.broker(&held.place.broker)?;
        match verdict {
            Verdict::Deliver => return Ok(()),
            Verdict::Skip => {}
            Verdict::Drop => {
                self.expired.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Wait => {
                let mut content = held.content.clone();
                content.attempt -= 1;
                give_again(&self.cluster, &broker, group, &content, held.wait()).await?;
            }
            Verdict::Bury(reason) => {
                let mut content = held.content.clone();
                self.complete(&broker, group, &held.place, &mut content)
                    .await?;
                // This delivery was none.
                content.attempt -= 1;
                dead::bury(client, &broker, group, &content, reason).await?;
            }
        }
        acknowledge(client, group, &held.place).await
    }

    /// Finds out what went wrong in all attempts before this one.
    pub(super) async fn complete(
        &self,
        broker: &Broker,
        group: &Group,
        place: &Place,
        content: &mut Content,
    ) -> Result<()> {
        if place.ordered && !content.history.is_whole(content.attempt) {
            let client = &self.cluster.client;
            let noted = notes::read(client, broker, group, content).await?;
            content.history = std::mem::take(&mut content.history).longer(noted);
        }
        content.history.silent_before(content.attempt);
        Ok(())
    }

    /// An error that is no reason to fail: the group is paused.
    async fn excuse(&self, group: &Group, error: Error) -> Result<()> {
        if !is_refusal(&error) && !is_missing(&error) {
            return Err(error);
        }
        match self
            .cluster
            .groups
            .look(&group.namespace, &group.name)
            .await?
        {
            None => Err(Error::not_found(format!(
                "there is no group {} any more",
                group.name
            ))),
            Some(seen) if seen.paused => Ok(()),
            Some(_) if error.kind() == ErrorKind::PermissionDenied => Err(error),
            Some(_) => Err(Error::new(
                ErrorKind::Unavailable,
                "the broker has lost the topics of the namespace",
            )),
        }
    }
}

impl Fetched {
    fn has_something(&self) -> bool {
        !self.deliver.is_empty() || !self.dispose.is_empty() || !self.unread.is_empty()
    }

    fn add(&mut self, more: Self) {
        self.deliver.extend(more.deliver);
        self.dispose.extend(more.dispose);
        self.unread.extend(more.unread);
        if let Some(error) = more.error {
            self.error.get_or_insert(error);
        }
    }
}
