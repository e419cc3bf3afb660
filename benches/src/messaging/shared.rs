//! Reading shared memory beside a bare map.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use dashmap::DashMap;
use foldhash::fast::FixedState;
use statehouse_contracts::Id;
use statehouse_messaging::{PutShared, SharedFeed, SharedMemory, SharedScope};
use tokio::runtime::Runtime;

use super::{Timed, memory};
use crate::{Result, VALUE};

/// How many values there are.
const VALUES: usize = 1_000;

fn name(n: usize) -> String {
    format!("value-{n}")
}

/// A get of a map by the same keys.
///
/// # Errors
/// None.
pub fn bare_map() -> Result<Timed> {
    let map = DashMap::<Id, Arc<Bytes>, FixedState>::default();
    let mut keys = Vec::new();
    for n in 0..VALUES {
        let id = Id::new(format!("workflow/w1/{}", name(n)))?;
        map.insert(id.clone(), Arc::new(Bytes::from(vec![7; VALUE])));
        keys.push(id);
    }
    Ok(Box::new(move |times| {
        let mut next = keys.iter().cycle();
        let start = Instant::now();
        for _ in 0..times {
            let value = next.next().and_then(|id| map.get(id));
            black_box(value.map(|value| Arc::clone(&value)));
        }
        Ok(start.elapsed())
    }))
}

/// A read of shared memory, over state that is kept in memory.
///
/// # Errors
/// Those of shared memory.
pub fn peek() -> Result<Timed> {
    let runtime = Runtime::new()?;
    let (backend, scope) = runtime.block_on(memory())?;
    let shared = SharedMemory::new(runtime.block_on(backend.state(&scope))?, "bench")?;
    let feed = runtime.block_on(SharedFeed::start(shared.clone()))?;
    let mut keys = Vec::new();
    for n in 0..VALUES {
        let key = shared.key(&SharedScope::Workflow("w1".into()), &name(n))?;
        runtime.block_on(shared.put(&key, PutShared::new(vec![7; VALUE])))?;
        keys.push(key);
    }
    // What the feed has yet to hear of is read again until it stays.
    for key in &keys {
        while shared.peek(key).is_none() {
            runtime.block_on(shared.get(key))?;
        }
    }
    Ok(Box::new(move |times| {
        black_box((&runtime, &feed));
        let mut next = keys.iter().cycle();
        let start = Instant::now();
        for _ in 0..times {
            black_box(next.next().and_then(|key| shared.peek(key)));
        }
        Ok(start.elapsed())
    }))
}
