//! Main, replica and rollback.

mod feed;
mod manager;
mod pending;
mod reads;
mod writes;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use statehouse_contracts::{
    Error, ErrorKind, FollowerName, Precondition, Record, Result, StateKey, StateManager,
    StateManagerExt, Transaction, Version, Write,
};
use tokio_util::sync::CancellationToken;

use self::feed::{Feed, Target};
use self::writes::Written;

/// How the replica comes by its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaMode {
    /// The database replicates by itself, change log included.
    Native,
    /// A follower of main writes it.
    #[default]
    Fed,
}

/// How a trio works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrioOptions {
    /// How the replica comes by its data.
    pub replica: ReplicaMode,
    /// How many changes the replica may be behind before reads go to main.
    pub max_lag: u64,
    /// How many of this process's writes are remembered key by key until the replica has them.
    pub remembered_writes: usize,
    /// The longest pause of a feed after a failure.
    pub backoff: Duration,
}

impl Default for TrioOptions {
    /// Fed, 10,000 changes, 100,000 writes, 5 s.
    fn default() -> Self {
        Self {
            replica: ReplicaMode::Fed,
            max_lag: 10_000,
            remembered_writes: 100_000,
            backoff: Duration::from_secs(5),
        }
    }
}

/// Who answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Main.
    Main,
    /// The replica.
    Replica,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrioRead {
    /// The live records, in the order asked.
    pub records: Vec<Option<Record>>,
    /// Who answered.
    pub source: Source,
    /// Whether main should have answered and was down: the records may be older than what this
    /// process wrote.
    pub stale: bool,
}

/// One role as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleStatus {
    /// Whether it answered just now; else why not.
    pub reachable: Result<(), String>,
    /// How many changes it is behind main; `None` for main, for a native replica and when it cannot
    /// be known.
    pub lag: Option<u64>,
}

/// The three roles as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrioStatus {
    /// Takes writes.
    pub main: RoleStatus,
    /// Takes reads.
    pub replica: RoleStatus,
    /// Is one step behind.
    pub rollback: RoleStatus,
}

/// One state manager over three.
///
/// - *main* takes every write, and all that has to do with changes, history and the outbox.
/// - *replica* takes reads: `get_many`, `read_version`, `list`. They give read-your-writes: a key
///   that this process wrote goes to main until the replica has that version; a list goes to main
///   until the replica has this process's last write. A replica that is down, or more than
///   `max_lag` changes behind, is passed over.
/// - *rollback* holds, for each key, the version before its latest: nothing when that is the first,
///   the data when the latest is a delete. It is fed by a follower of main's changes, never from the
///   replica, and keeps what it has when main prunes; after an outage it catches up.
///   [`Trio::restore`] writes that version to main as a new one.
/// - With main down, reads go on, marked stale where main should have answered; writes fail with
///   main's error.
#[derive(Debug)]
pub struct Trio {
    main: Arc<dyn StateManager>,
    replica: Arc<dyn StateManager>,
    rollback: Arc<dyn StateManager>,
    options: TrioOptions,
    written: Mutex<Written>,
    known_lag: Mutex<KnownLag>,
}

/// The replica's lag as it was found last.
#[derive(Debug, Default)]
struct KnownLag(Option<(Instant, Option<u64>)>);

impl KnownLag {
    fn fresh(&self, age: Duration) -> Option<Option<u64>> {
        self.0
            .filter(|(at, _)| at.elapsed() < age)
            .map(|(_, lag)| lag)
    }

    fn set(&mut self, lag: Option<u64>) {
        self.0 = Some((Instant::now(), lag));
    }
}

impl Trio {
    /// The follower of main that feeds the replica.
    pub const REPLICA_FOLLOWER: &'static str = "statehouse.replica";
    /// The follower of main that feeds the rollback store.
    pub const ROLLBACK_FOLLOWER: &'static str = "statehouse.rollback";

    /// A trio over three managers of one namespace.
    pub fn new(
        main: Arc<dyn StateManager>,
        replica: Arc<dyn StateManager>,
        rollback: Arc<dyn StateManager>,
        options: TrioOptions,
    ) -> Self {
        let written = Mutex::new(Written::new(options.remembered_writes));
        Self {
            main,
            replica,
            rollback,
            options,
            written,
            known_lag: Mutex::default(),
        }
    }

    /// Feeds the replica and the rollback store until `stop`. One process of a deployment does
    /// this; several do no harm.
    ///
    /// # Errors
    /// Never in practice: the followers' fixed names are valid.
    pub async fn run_feeds(&self, stop: CancellationToken) -> Result<()> {
        let feed = |name: &str, target| {
            Ok::<_, Error>(Feed {
                main: Arc::clone(&self.main),
                target,
                follower: FollowerName::new(name)?,
                backoff: self.options.backoff,
            })
        };
        let rollback = feed(
            Self::ROLLBACK_FOLLOWER,
            Target::Rollback(Arc::clone(&self.rollback)),
        )?;
        match self.options.replica {
            ReplicaMode::Native => rollback.run(stop).await,
            ReplicaMode::Fed => {
                let replica = feed(
                    Self::REPLICA_FOLLOWER,
                    Target::Replica(Arc::clone(&self.replica)),
                )?;
                tokio::join!(rollback.run(stop.clone()), replica.run(stop));
            }
        }
        Ok(())
    }

    /// The version before the latest that the rollback store knows of.
    ///
    /// # Errors
    /// Those of the rollback store.
    pub async fn previous(&self, key: &StateKey) -> Result<Option<Record>> {
        self.rollback.get(key).await
    }

    /// Writes the version before the latest to main, as a new version; answers that.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the rollback store has none;
    /// [`Conflict`](ErrorKind::Conflict) when `precondition` does not hold on main.
    pub async fn restore(&self, key: &StateKey, precondition: Precondition) -> Result<Version> {
        let write = self.restoration(key, precondition).await?;
        let applied = self.apply(Transaction::of(write)).await?;
        let version = applied.versions.first().copied();
        version.ok_or_else(|| Error::new(ErrorKind::Internal, "apply answered no version"))
    }

    /// The write to main that restores the version before the latest.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the rollback store has none.
    pub async fn restoration(&self, key: &StateKey, precondition: Precondition) -> Result<Write> {
        let Some(previous) = self.previous(key).await? else {
            let message = format!("the rollback store has no version of {key} before its latest");
            return Err(Error::not_found(message).with_operation("restore"));
        };
        let operation = statehouse_contracts::Operation::Put {
            data: previous.data,
            content_type: previous.content_type,
            schema: previous.schema,
            ttl: None,
        };
        Ok(Write {
            key: key.clone(),
            operation,
            precondition,
        })
    }

    /// The three roles as they stand.
    pub async fn status(&self) -> TrioStatus {
        let (main, replica, rollback) =
            tokio::join!(self.main.head(), self.replica.head(), self.rollback.head());
        let reachable =
            |answer: &Result<_>| answer.as_ref().map(|_| ()).map_err(ToString::to_string);
        let fed = self.options.replica == ReplicaMode::Fed;
        let replica_lag = if fed {
            self.lag(Self::REPLICA_FOLLOWER).await
        } else {
            None
        };
        TrioStatus {
            main: RoleStatus {
                reachable: reachable(&main),
                lag: None,
            },
            replica: RoleStatus {
                reachable: reachable(&replica),
                lag: replica_lag,
            },
            rollback: RoleStatus {
                reachable: reachable(&rollback),
                lag: self.lag(Self::ROLLBACK_FOLLOWER).await,
            },
        }
    }

    async fn lag(&self, follower: &str) -> Option<u64> {
        let followers = self.main.followers().await.ok()?;
        followers
            .into_iter()
            .find(|found| found.name.as_str() == follower)
            .map(|found| found.lag)
    }
}
