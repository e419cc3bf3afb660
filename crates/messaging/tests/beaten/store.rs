//! The store that large payloads lie in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backend, Compression, ContentType, ErrorKind, Holder, PutContent, ReferenceStore,
};
use statehouse_messaging::{Bus, InterruptOptions, Interrupts};

use crate::world::*;

/// In memory, and in a file that lives as long as the answer.
async fn both() -> (Disk, [Arc<dyn Backend>; 2]) {
    let disk = Disk::new();
    let backends = [memory().await, disk.open().await];
    (disk, backends)
}

async fn references(backend: &Arc<dyn Backend>) -> Arc<dyn ReferenceStore> {
    backend.references(&scope()).await.unwrap()
}

fn holder(name: &str) -> Holder {
    Holder::new(name).unwrap()
}

/// A second close of a store was a panic.
#[tokio::test]
async fn bb3_two_closes() {
    let (_disk, backends) = both().await;
    for backend in backends {
        let store = references(&backend).await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        let later = store.put(PutContent::new("x")).await.unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Closed);
        let interrupts = Interrupts::new(messenger(&backend).await, InterruptOptions::default());
        interrupts.close().await;
        interrupts.close().await;
        backend.close().await.unwrap();
        backend.close().await.unwrap();
    }
    let bus = Bus::default();
    bus.close();
    bus.close();
}

/// `Compression` and `ContentType` of a put were never looked at.
#[tokio::test]
async fn bb9_content_is_stored_as_asked() {
    let (_disk, backends) = both().await;
    for backend in backends {
        let store = references(&backend).await;
        let supported = store.capability();
        assert!(supported.gzip && supported.zstd);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let plain = format!("{compression:?} ").repeat(5_000);
            let put = PutContent {
                compression,
                content_type: ContentType::JSON,
                ..PutContent::new(plain.clone())
            };
            let reference = store.put(put).await.unwrap().reference;
            let stored = store.resolve(&reference.id).await.unwrap();
            assert_eq!(stored.bytes, plain);
            assert_eq!(stored.info.compression, compression);
            assert_eq!(stored.info.reference.content_type, ContentType::JSON);
            let smaller = stored.info.stored_size < plain.len() as u64 / 10;
            assert_eq!(smaller, compression != Compression::None);
        }
    }
}

/// `ComputeChecksum` was never looked at.
#[tokio::test]
async fn bb9_damaged_content_is_not_handed_out() {
    let disk = Disk::new();
    let backend = disk.open().await;
    let plain = "a secret recipe ".repeat(100);
    let put = PutContent {
        compression: Compression::None,
        ..PutContent::new(plain.clone())
    };
    let reference = references(&backend).await.put(put).await.unwrap().reference;
    backend.close().await.unwrap();
    let mut file = std::fs::read(disk.path()).unwrap();
    let places = positions(&file, b"recipe");
    assert!(!places.is_empty(), "it lies there as it is");
    places.into_iter().for_each(|at| file[at] = b'R');
    std::fs::write(disk.path(), file).unwrap();
    let store = references(&disk.open().await).await;
    let damaged = store.resolve(&reference.id).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupted);
}

fn positions(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(part.len()).enumerate();
    let found = windows.filter(|(_, window)| *window == part);
    found.map(|(at, _)| at).collect()
}

/// Whether and how garbage was collected was configured and ignored: only the interval counted.
/// Here it is what nobody holds, or what has expired, and nothing else.
#[tokio::test]
async fn bb9_garbage_is_what_nobody_holds_or_has_expired() {
    let (_disk, backends) = both().await;
    for backend in backends {
        let store = references(&backend).await;
        let put = async |text: &'static str, ttl| {
            let put = PutContent {
                ttl,
                ..PutContent::new(text).held_by(holder("me"))
            };
            store.put(put).await.unwrap().reference.id
        };
        let held = put("held", None).await;
        let released = put("released", None).await;
        let expired = put("expired", Some(Duration::from_millis(1))).await;
        store.release(&released, &holder("me")).await.unwrap();
        let deadline = Instant::now() + WAIT;
        while store.stat(&expired).await.is_ok() {
            assert!(Instant::now() < deadline, "it never expires");
        }
        store.collect_garbage().await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.entries, stats.evictions), (1, 2));
        assert!(stats.collections > 0, "a run is counted");
        assert_eq!(store.resolve(&held).await.unwrap().bytes, "held");
        let gone = store.resolve(&released).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}

/// The documents said that a resolve counted as a holder, and it did not.
#[tokio::test]
async fn bb14_a_resolve_holds_nothing() {
    let (_disk, backends) = both().await;
    for backend in backends {
        let store = references(&backend).await;
        let put = PutContent::new("x").held_by(holder("me"));
        let id = store.put(put).await.unwrap().reference.id;
        for _ in 0..3 {
            assert_eq!(store.resolve(&id).await.unwrap().info.holders, 1);
        }
        store.retain(&id, &holder("you"), None).await.unwrap();
        assert_eq!(store.stat(&id).await.unwrap().holders, 2);
    }
}
