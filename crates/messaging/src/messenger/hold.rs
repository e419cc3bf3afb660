//! Sending by reference: who holds the content, from before the send until after the last ack.

use std::time::Duration;

use statehouse_contracts::{
    GroupName, Holder, Kind, Message, MessageId, Payload, ProducerExt, PutContent, Reference,
    ReferenceId, ReferenceKind, Result, SendOptions, Sent, Timestamp, Topic,
};

use super::book::Entry;
use super::{Messenger, Promoted};

/// Who holds content for one group's delivery of a message.
pub(super) fn group_holder(message: MessageId, group: &GroupName) -> Holder {
    holder(format!("{message}:{group}"))
}

/// Who holds content while its message is being sent.
pub(super) fn sending_holder(message: MessageId) -> Holder {
    holder(message.to_string())
}

/// Who holds content for those who hear a message without a group. No group has this name.
fn kept_holder(message: MessageId) -> Holder {
    holder(format!("{message}:#"))
}

fn holder(text: String) -> Holder {
    Holder::new(text).expect("ids and group names are printable and short")
}

impl Messenger {
    /// Stores the content, sends its reference, and hands the content over to the groups that have
    /// the message. With `keep` the content is kept for so long in any case, from when the message is
    /// due. Answers the message as it was sent, too.
    pub(super) async fn send_promoted(
        &self,
        mut message: Message,
        promoted: Promoted,
        options: SendOptions,
        keep: Option<Duration>,
    ) -> Result<(Sent, Message)> {
        let content = ReferenceId::of(&promoted.bytes);
        let entry = self.entry(&message, content).await?;
        let held = self.hold(&entry, &message, promoted).await?;
        message.payload = Payload::Reference(held.reference);
        let sent = async {
            if let Some(keep) = keep {
                let holder = kept_holder(message.id);
                let keep = Some(keep.saturating_add(message.delay));
                self.0.references.retain(&content, &holder, keep).await?;
            }
            self.0.producer.send_with(message.clone(), options).await
        };
        match sent.await {
            Ok(sent) if is_elsewhere(&sent, &entry) => {
                self.forget(&entry).await;
                Ok((sent, message))
            }
            Ok(sent) => {
                self.hand_over(&entry).await;
                Ok((sent, message))
            }
            Err(error) => {
                // It may have been sent, now or by an earlier call: then the sweep finds out.
                if held.created && !error.is_ambiguous() {
                    self.forget(&entry).await;
                }
                Err(error)
            }
        }
    }

    /// The groups that hear `topic` now, or will with its first message.
    pub(super) async fn groups_of(&self, topic: &Topic) -> Result<Vec<GroupName>> {
        let all = self.0.consumer.groups().await?;
        let hearing = all
            .into_iter()
            .filter(|group| group.spec.pattern.matches(topic));
        let mut groups: Vec<GroupName> = hearing.map(|status| status.group).collect();
        if topic.is_mailbox() {
            let own = GroupName::new(topic.as_str())?;
            if !groups.contains(&own) {
                groups.push(own);
            }
        }
        Ok(groups)
    }

    /// Makes `message`, a dead letter of `group`, hold its content as if it was sent now.
    pub(super) async fn hold_again(&self, group: &GroupName, message: &Message) -> Result<()> {
        let Payload::Reference(reference) = &message.payload else {
            return Ok(());
        };
        let entry = Entry {
            groups: vec![group.clone()],
            ..self.entry(message, reference.id).await?
        };
        let store = &self.0.references;
        entry.put(&**store).await?;
        let holder = group_holder(message.id, group);
        store.retain(&reference.id, &holder, None).await
    }

    async fn entry(&self, message: &Message, content: ReferenceId) -> Result<Entry> {
        let since = Timestamp::now();
        let life = message.ttl.map(|ttl| message.delay.saturating_add(ttl));
        Ok(Entry {
            message: message.id,
            content,
            topic: message.topic.clone(),
            groups: self.groups_of(&message.topic).await?,
            ttl: message.ttl,
            since,
            until: life.map(|life| later(since, life)),
        })
    }

    /// Stores the content, held for the send and for each group, in the order in which a crash
    /// leaves nothing that the book does not know.
    async fn hold(&self, entry: &Entry, message: &Message, promoted: Promoted) -> Result<Held> {
        let store = &self.0.references;
        entry.put(&**store).await?;
        let mut content = PutContent::new(promoted.bytes);
        content.holder = Some(sending_holder(entry.message));
        content.kind = reference_kind(message.kind.as_ref());
        content.content_type = promoted.content_type.clone();
        let stored = match store.put(content).await {
            Ok(stored) => stored,
            Err(error) => {
                // Without content the entry stands for nothing; a sweep would remove it as well.
                drop(entry.remove(&**store).await);
                return Err(error);
            }
        };
        for group in &entry.groups {
            let holder = group_holder(entry.message, group);
            if let Err(error) = store.retain(&entry.content, &holder, None).await {
                if stored.created {
                    self.forget(entry).await;
                }
                return Err(error);
            }
        }
        // The first put's media type stands in the store; the message keeps its own.
        let reference = Reference {
            content_type: promoted.content_type,
            ..stored.reference
        };
        Ok(Held {
            reference,
            created: stored.created,
        })
    }

    /// After the send: groups that were declared meanwhile hold as well, the send no longer.
    async fn hand_over(&self, entry: &Entry) {
        if let Err(error) = self.try_hand_over(entry).await {
            tracing::warn!(message = %entry.message, %error, "content is handed over by a sweep");
        }
    }

    pub(super) async fn try_hand_over(&self, entry: &Entry) -> Result<Entry> {
        let store = &self.0.references;
        let mut known = entry.clone();
        for group in self.groups_of(&entry.topic).await? {
            if !known.groups.contains(&group) {
                known.groups.push(group);
            }
        }
        entry.replace(&known, &**store).await?;
        for group in &known.groups[entry.groups.len()..] {
            let holder = group_holder(entry.message, group);
            store.retain(&entry.content, &holder, None).await?;
        }
        let sending = sending_holder(entry.message);
        store.release(&entry.content, &sending).await?;
        Ok(known)
    }

    /// Nobody has the message: releases everything. When that fails, the sweep does it.
    async fn forget(&self, entry: &Entry) {
        if let Err(error) = self.try_forget(entry).await {
            tracing::warn!(message = %entry.message, %error, "content is released by a sweep");
        }
    }

    async fn try_forget(&self, entry: &Entry) -> Result<()> {
        let store = &self.0.references;
        for group in &entry.groups {
            let holder = group_holder(entry.message, group);
            store.release(&entry.content, &holder).await?;
        }
        let sending = sending_holder(entry.message);
        store.release(&entry.content, &sending).await?;
        entry.remove(&**store).await
    }
}

/// Content that is held for a send.
struct Held {
    reference: Reference,
    /// Whether it was not there before: then no earlier send can need it.
    created: bool,
}

/// Whether no group has the message under this id: none heard it, or it was accepted before under
/// another.
fn is_elsewhere(sent: &Sent, entry: &Entry) -> bool {
    sent.id != entry.message || (sent.routed == Some(0) && sent.duplicate_of.is_none())
}

pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn reference_kind(kind: Option<&Kind>) -> ReferenceKind {
    match kind.map_or("", Kind::as_str) {
        "session_state" => ReferenceKind::SessionState,
        "workflow_context" => ReferenceKind::WorkflowContext,
        "collaboration_state" => ReferenceKind::CollaborationState,
        "pattern_data" => ReferenceKind::PatternData,
        "tool_result" => ReferenceKind::ToolResult,
        "observability_trace" => ReferenceKind::ObservabilityTrace,
        _ => ReferenceKind::LargePayload,
    }
}
