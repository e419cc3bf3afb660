//! The conformance suite on SQLite, each backend in a file of its own.

use std::{process::ExitCode, time::Duration};

use statehouse_conformance::{Expected, Place, Setup};
use statehouse_contracts::{Durability, Error, Result, StateCapability, Wake};
use statehouse_sqlite::SqliteFactory;

/// How often a waiting call looks for what other processes committed.
const WAKE: Wake = Wake::Poll(Duration::from_millis(25));

fn main() -> ExitCode {
    let expected = Expected {
        state: Some(state()),
        ..Expected::default()
    };
    Setup::new(SqliteFactory, expected)
        .places(|| file(""))
        .persistent()
        .main()
}

/// A new file in a folder that lives as long as the place.
fn file(parameters: &str) -> Result<Place> {
    let folder = tempfile::tempdir()
        .map_err(|error| Error::internal("cannot make a folder").with_source(error))?;
    let path = folder.path().join("statehouse.db");
    Ok(Place::new(format!("sqlite:{}{parameters}", path.display())).keep(folder))
}

fn state() -> StateCapability {
    StateCapability {
        durability: Durability::DISK,
        max_data: 16 << 20,
        max_writes: 1000,
        max_message: 1 << 20,
        max_page: 1000,
        dedup_window: Duration::from_secs(24 * 3600),
        expiry_lag: Duration::from_secs(5),
        import_export: true,
        deliver_local: true,
        wake: WAKE,
    }
}
