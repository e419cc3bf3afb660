//! By value or by reference: how a payload travels.

mod config;
mod size;
mod table;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use statehouse_contracts::{Kind, Payload, Result};

pub use config::{AutoPromote, KindLists, PolicyConfig};
use table::Limits;

/// How a payload travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the message itself.
    Inline,
    /// In the reference store; the message carries its reference.
    Reference,
}

/// The tier of a kind of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// By reference, whatever the size.
    AlwaysReference,
    /// By reference when it is larger than `threshold`.
    AutoPromote {
        /// The most bytes that travel inline.
        threshold: u64,
    },
    /// Inline, whatever the size.
    AlwaysValue,
}

impl Policy {
    /// The threshold of [`Policy::default`] in bytes.
    pub const THRESHOLD: u64 = 10_240;

    /// The most bytes that travel inline. Empty content always does: there is nothing to store.
    fn inline_limit(self) -> u64 {
        match self {
            Policy::AlwaysReference => 0,
            Policy::AutoPromote { threshold } => threshold,
            Policy::AlwaysValue => u64::MAX,
        }
    }

    /// Where `size` bytes go.
    pub fn place(self, size: usize) -> Placement {
        place(self.inline_limit(), size)
    }
}

impl Default for Policy {
    /// By reference when it is larger than 10,240 bytes.
    fn default() -> Self {
        Policy::AutoPromote {
            threshold: Self::THRESHOLD,
        }
    }
}

fn place(inline_limit: u64, size: usize) -> Placement {
    if size as u64 > inline_limit {
        Placement::Reference
    } else {
        Placement::Inline
    }
}

/// What is said of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rule {
    forced: Option<Placement>,
    policy: Option<Policy>,
}

impl Rule {
    fn inline_limit(self) -> Option<u64> {
        match self.forced {
            Some(Placement::Inline) => Some(u64::MAX),
            Some(Placement::Reference) => Some(0),
            None => self.policy.map(Policy::inline_limit),
        }
    }
}

/// Decides how payloads travel. What decides is, in this order: what the kind is *forced* to, the
/// kind's own policy, the default policy; a size must be strictly greater than a threshold to be
/// promoted.
///
/// Shared by threads; reading takes no lock and allocates nothing, and every rule can be changed
/// while others read.
///
/// ```
/// use statehouse_contracts::Kind;
/// use statehouse_messaging::{Placement, Policy, PolicyManager};
///
/// # fn main() -> statehouse_contracts::Result<()> {
/// let policies = PolicyManager::default();
/// assert_eq!(policies.place(None, 10_240), Placement::Inline);
/// assert_eq!(policies.place(None, 10_241), Placement::Reference);
///
/// let session = Kind::new("session_state")?;
/// assert_eq!(policies.place(Some(&session), 1), Placement::Reference);
/// policies.set(session.clone(), Policy::AlwaysValue); // the kind is still forced
/// assert_eq!(policies.place(Some(&session), 1), Placement::Reference);
/// policies.unforce(&session);
/// assert_eq!(policies.place(Some(&session), 1), Placement::Inline);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PolicyManager {
    /// The most bytes of a kind without a rule that travel inline.
    limit: AtomicU64,
    /// What the rules below come to.
    limits: Limits,
    rules: Mutex<HashMap<Kind, Rule>>,
}

impl PolicyManager {
    /// With the rules of `config`.
    pub fn new(config: &PolicyConfig) -> Self {
        let manager = Self::uniform(config.auto_promote.policy());
        let lists = &config.policies;
        let forced = [
            (&lists.always_reference, Placement::Reference),
            (&lists.always_value, Placement::Inline),
        ];
        for (kinds, placement) in forced {
            for kind in kinds {
                manager.force(kind.clone(), placement);
            }
        }
        manager
    }

    /// With `policy` for all kinds, and no rule for any.
    pub fn uniform(policy: Policy) -> Self {
        Self {
            limit: AtomicU64::new(policy.inline_limit()),
            limits: Limits::new(),
            rules: Mutex::default(),
        }
    }

    /// How `size` bytes of a message of `kind` travel.
    pub fn place(&self, kind: Option<&Kind>, size: usize) -> Placement {
        place(self.inline_limit(kind), size)
    }

    /// How `payload` travels: what is a reference already stays one.
    pub fn place_payload(&self, kind: Option<&Kind>, payload: &Payload) -> Placement {
        match payload {
            Payload::Inline { bytes, .. } => self.place(kind, bytes.len()),
            Payload::Reference(_) => Placement::Reference,
        }
    }

    /// How `value` travels as JSON. It is serialized only as far as the decision needs: not at all
    /// where the size does not matter, and never past the threshold.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when `value` cannot be
    /// serialized.
    pub fn place_json<T: Serialize + ?Sized>(
        &self,
        kind: Option<&Kind>,
        value: &T,
    ) -> Result<Placement> {
        match self.inline_limit(kind) {
            0 => Ok(Placement::Reference),
            u64::MAX => Ok(Placement::Inline),
            limit if size::json_exceeds(value, limit)? => Ok(Placement::Reference),
            _ => Ok(Placement::Inline),
        }
    }

    /// The policy of `kind`: its own, or the default one.
    pub fn get(&self, kind: &Kind) -> Policy {
        let own = self.rules.lock().get(kind).and_then(|rule| rule.policy);
        own.unwrap_or_else(|| self.default_policy())
    }

    /// The policy of kinds without a rule.
    pub fn default_policy(&self) -> Policy {
        match self.limit.load(Ordering::Relaxed) {
            0 => Policy::AlwaysReference,
            u64::MAX => Policy::AlwaysValue,
            threshold => Policy::AutoPromote { threshold },
        }
    }

    /// Sets the policy of kinds without a rule.
    pub fn set_default(&self, policy: Policy) {
        self.limit.store(policy.inline_limit(), Ordering::Relaxed);
    }

    /// Sets the policy of `kind`.
    pub fn set(&self, kind: Kind, policy: Policy) {
        self.change(kind, |rule| rule.policy = Some(policy));
    }

    /// Takes the policy of `kind` away: the default one counts again.
    pub fn unset(&self, kind: &Kind) {
        self.change(kind.clone(), |rule| rule.policy = None);
    }

    /// What `kind` is forced to.
    pub fn forced(&self, kind: &Kind) -> Option<Placement> {
        self.rules.lock().get(kind).and_then(|rule| rule.forced)
    }

    /// Forces `kind`, whatever policies and size say.
    pub fn force(&self, kind: Kind, placement: Placement) {
        self.change(kind, |rule| rule.forced = Some(placement));
    }

    /// Forces `kind` no longer.
    pub fn unforce(&self, kind: &Kind) {
        self.change(kind.clone(), |rule| rule.forced = None);
    }

    fn inline_limit(&self, kind: Option<&Kind>) -> u64 {
        kind.and_then(|kind| self.limits.get(kind))
            .unwrap_or_else(|| self.limit.load(Ordering::Relaxed))
    }

    fn change(&self, kind: Kind, change: impl FnOnce(&mut Rule)) {
        let mut rules = self.rules.lock();
        let rule = rules.entry(kind.clone()).or_default();
        change(rule);
        self.limits.set(&kind, rule.inline_limit());
        if *rule == Rule::default() {
            rules.remove(&kind);
        }
    }
}

impl Default for PolicyManager {
    /// With the rules of [`PolicyConfig::default`].
    fn default() -> Self {
        Self::new(&PolicyConfig::default())
    }
}

#[cfg(test)]
mod tests;
