//! The conformance suite on Redis, Valkey and, where its image can be had, Dragonfly.

mod expected;

use std::process::ExitCode;

use fred::interfaces::{ClientLike, HashesInterface};
use statehouse_conformance::{Damage, Setup};
use statehouse_contracts::{Durability, Error, Result};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Service, conformance};

use self::expected::expected;

fn main() -> ExitCode {
    conformance("dragonfly", |service| {
        // Its scripts verify the keys they touch, as Dragonfly and clusters do.
        Setup::new(DragonflyFactory, expected(durability(service)))
            .opened_with("check_keys=true")
            .persistent()
            .cache()
            .quota_by("quota=1048576")
            .damage(|damage| Box::pin(flip(damage)))
    })
}

/// Snapshots are all that Dragonfly has.
fn durability(service: &Service) -> Durability {
    match service.name() {
        "dragonfly" => Durability::NONE,
        _ => Durability::DISK,
    }
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
