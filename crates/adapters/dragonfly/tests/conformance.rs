//! The conformance suite on the server at `TEST_DRAGONFLY_URL`.

use std::process::ExitCode;
use std::time::Duration;

use fred::interfaces::{ClientLike, HashesInterface};
use statehouse_conformance::{Damage, Expected, Place, Setup};
use statehouse_contracts::{
    Durability, Error, Fencing, ReferenceCapability, Result, StateCapability, TaskCapability, Wake,
};
use statehouse_dragonfly::DragonflyFactory;

fn main() -> ExitCode {
    let expected = Expected {
        producer: None,
        consumer: None,
        state: Some(state()),
        tasks: Some(tasks()),
        references: Some(references()),
    };
    Setup::new(DragonflyFactory, expected)
        .places(|| place(""))
        .persistent()
        .quota(|| place("&quota=1048576"))
        .damage(|damage| Box::pin(flip(damage)))
        .main()
}

/// The server, with scripts that verify the keys they touch, as Dragonfly and clusters do.
fn place(parameters: &str) -> Result<Place> {
    let url = std::env::var("TEST_DRAGONFLY_URL")
        .map_err(|_| Error::invalid("TEST_DRAGONFLY_URL is not set"))?;
    let mark = if url.contains('?') { '&' } else { '?' };
    Ok(Place::new(format!(
        "{url}{mark}check_keys=true{parameters}"
    )))
}

/// Flips a bit of stored content through a connection of its own.
async fn flip(damage: Damage) -> Result<()> {
    const CHUNK: u64 = 64 * 1024;
    /// What a stored chunk begins with: its plain length and its checksum.
    const HEADER: usize = 12;
    let key = format!("sh:{{{}}}:r:chunks:{}", damage.namespace, damage.id);
    let (field, at) = (damage.at / CHUNK, HEADER + (damage.at % CHUNK) as usize);
    let run = async {
        let url = damage.place.url().split('?').next().unwrap_or_default();
        let client = fred::clients::Client::new(
            fred::types::config::Config::from_url(url)?,
            None,
            None,
            None,
        );
        client.init().await?;
        let mut stored: Vec<u8> = client.hget(&key, field.to_string()).await?;
        stored[at] ^= 1;
        let damaged = bytes::Bytes::from(stored);
        client
            .hset::<(), _, _>(&key, (field.to_string(), damaged))
            .await?;
        client.quit().await
    };
    run.await.map_err(|error: fred::error::Error| {
        Error::internal("cannot damage the content").with_source(error.to_string())
    })
}

fn tasks() -> TaskCapability {
    TaskCapability {
        durability: Durability::DISK,
        max_payload: 1 << 20,
        max_push: 1000,
        max_claim: 256,
        max_nesting: 64,
        min_lease: Duration::from_millis(500),
        max_lease: Duration::from_secs(24 * 3600),
        fencing: Fencing::Server,
        redelivery_lag: Duration::from_millis(50),
        delay_precision: Duration::from_millis(50),
        retention: Duration::from_secs(7 * 24 * 3600),
        wake: Wake::Push,
    }
}

fn references() -> ReferenceCapability {
    ReferenceCapability {
        durability: Durability::DISK,
        max_content: 256 << 20,
        ttl: true,
        gzip: true,
        zstd: true,
        lz4: true,
        ranges: true,
        quota: None,
    }
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
        deliver_local: false,
        wake: Wake::Push,
    }
}
