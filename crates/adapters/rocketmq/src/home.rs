//! Where messages with an ordering key are at home: at which broker, in which queue.

use std::hash::Hasher;

use twox_hash::XxHash64;

use crate::session::Broker;

/// The broker of a key: the one that hashes highest with it, so that when a broker goes only its
/// keys move.
pub(crate) fn home(key: &str, brokers: &[Broker]) -> usize {
    let highest = brokers
        .iter()
        .enumerate()
        .max_by_key(|(_, broker)| hash(key, &broker.name));
    highest.map_or(0, |(index, _)| index)
}

/// The queue of a key, out of so many.
pub(crate) fn queue(key: &str, queues: u32) -> u32 {
    (hash(key, "queue") % u64::from(queues.max(1))) as u32
}

/// A hash that every process and every version computes alike.
fn hash(key: &str, salt: &str) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    for part in [salt, "\0", key] {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(names: &[&str]) -> Vec<Broker> {
        names
            .iter()
            .map(|name| Broker {
                name: (*name).into(),
                address: "127.0.0.1:1".into(),
            })
            .collect()
    }

    #[test]
    fn a_key_moves_only_when_its_broker_goes() {
        let (all, fewer) = (brokers(&["a", "b", "c"]), brokers(&["a", "c"]));
        let mut moved = 0;
        for n in 0..300 {
            let key = n.to_string();
            let (before, after) = (&all[home(&key, &all)], &fewer[home(&key, &fewer)]);
            if before.name == "b" {
                moved += 1;
            } else {
                assert_eq!(before, after, "{key}");
            }
        }
        assert!((60..140).contains(&moved), "{moved} of 300 were at b");
    }

    #[test]
    fn the_hash_never_changes() {
        // Written down from a run: with another value, keys would change their queue on an upgrade.
        assert_eq!(hash("a key", "queue"), 0x711bc22f617159c2);
        assert_ne!(hash("a key", "queue"), hash("a key", "broker-a"));
    }
}
