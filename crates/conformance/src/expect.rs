//! What cases say when something is not as the contract has it.

use std::fmt::{self, Debug};
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use statehouse_contracts::{Detail, Error, ErrorKind};

/// Why a case failed, and where.
#[derive(Debug)]
pub struct Failure {
    message: String,
    place: &'static Location<'static>,
}

impl Failure {
    /// A failure at the caller's place.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: Location::caller(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}:{})",
            self.message,
            self.place.file(),
            self.place.line()
        )
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("unexpected error: {error:?}"))
    }
}

/// The value for people, cut where it gets long.
fn shown(value: &impl Debug) -> String {
    let whole = format!("{value:?}");
    match whole.char_indices().nth(2_000) {
        Some((end, _)) => format!("{} …", &whole[..end]),
        None => whole,
    }
}

/// Fails with `message`.
///
/// # Errors
/// Always.
#[track_caller]
pub fn fail<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::new(message))
}

/// Fails with `says` unless `condition` holds.
///
/// # Errors
/// When it does not hold.
#[track_caller]
pub fn ensure(condition: bool, says: &str) -> Result<(), Failure> {
    if condition { Ok(()) } else { fail(says) }
}

/// Fails unless both are equal; `what` names them.
///
/// # Errors
/// When they differ.
#[track_caller]
pub fn ensure_eq<A, B>(actual: A, expected: B, what: &str) -> Result<(), Failure>
where
    A: PartialEq<B> + Debug,
    B: Debug,
{
    if actual == expected {
        return Ok(());
    }
    fail(format!(
        "{what}: expected {}, got {}",
        shown(&expected),
        shown(&actual)
    ))
}

/// The value that is there.
///
/// # Errors
/// When there is none.
#[track_caller]
pub fn some<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::new(format!("there is no {what}")))
}

/// The error of `result`, which must be of `kind`.
///
/// # Errors
/// When it is `Ok` or of another kind.
#[track_caller]
pub fn expect_kind<T: Debug>(result: Result<T, Error>, kind: ErrorKind) -> Result<Error, Failure> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => fail(format!("expected an error of kind {kind}, got {error:?}")),
        Ok(value) => fail(format!(
            "expected an error of kind {kind}, got Ok({})",
            shown(&value)
        )),
    }
}

/// The result must be an `InvalidArgument` that names the limit `name`.
///
/// # Errors
/// When it is anything else.
#[track_caller]
pub fn expect_limit<T: Debug>(result: Result<T, Error>, name: &str) -> Result<(), Failure> {
    let error = expect_kind(result, ErrorKind::InvalidArgument)?;
    match error.detail() {
        Some(Detail::Limit { name: limit, .. }) if *limit == name => Ok(()),
        _ if error.message().contains(name) => Ok(()),
        _ => fail(format!(
            "the error does not name the limit {name}: {error:?}"
        )),
    }
}

/// Asks again and again, every few milliseconds, until `ask` answers `Some`; then gives that.
///
/// # Errors
/// Those of `ask`, and when `within` has passed without an answer; the failure names `what`.
pub async fn eventually<T, F, A>(within: Duration, what: &str, mut ask: F) -> Result<T, Failure>
where
    F: FnMut() -> A,
    A: Future<Output = Result<Option<T>, Failure>>,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if start.elapsed() > within {
            return fail(format!("{what} did not come about within {within:?}"));
        }
        // sleep: the pause between two polls
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Watches for `during` that `ask` never answers `Some`.
///
/// # Errors
/// Those of `ask`, and as soon as it answers; the failure names `what`.
pub async fn never<T, F, A>(during: Duration, what: &str, mut ask: F) -> Result<(), Failure>
where
    T: Debug,
    F: FnMut() -> A,
    A: Future<Output = Result<Option<T>, Failure>>,
{
    let start = Instant::now();
    while start.elapsed() < during {
        if let Some(answer) = ask().await? {
            return fail(format!("{what} must not come about, but did: {answer:?}"));
        }
        // sleep: the pause between two polls
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
