//! The content of a version: what was appended, shared with the versions before it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Content in segments. Appending shares all that is there, so a chain of appends costs what was
/// appended; reading puts the segments together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(Option<Arc<Segment>>);

#[derive(Debug)]
struct Segment {
    before: Option<Arc<Segment>>,
    bytes: Bytes,
    /// Of this segment and all before it.
    len: usize,
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::default().append(bytes)
    }

    /// This content and `bytes`.
    pub(crate) fn append(&self, bytes: Bytes) -> Self {
        Self(Some(Arc::new(Segment {
            len: self.len() + bytes.len(),
            before: self.0.clone(),
            bytes,
        })))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |last| last.len)
    }

    /// What was appended last, if there is anything before it.
    pub(crate) fn appended(&self) -> Option<&Bytes> {
        let last = self.0.as_ref()?;
        last.before.as_ref().map(|_| &last.bytes)
    }

    /// The whole content; that of a single segment is shared, not copied.
    pub(crate) fn read(&self) -> Bytes {
        let Some(last) = &self.0 else {
            return Bytes::new();
        };
        if last.before.is_none() {
            return last.bytes.clone();
        }
        let mut segments = Vec::new();
        let mut next = Some(last);
        while let Some(segment) = next {
            segments.push(&segment.bytes);
            next = segment.before.as_ref();
        }
        let mut whole = BytesMut::with_capacity(last.len);
        for bytes in segments.into_iter().rev() {
            whole.extend_from_slice(bytes);
        }
        whole.freeze()
    }
}

impl Drop for Segment {
    /// One after another: a long chain would not fit on the call stack.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut segment) = next.and_then(Arc::into_inner) {
            next = segment.before.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_and_a_long_chain_can_be_dropped() {
        let mut versions = vec![Body::default()];
        for number in 0..200_000_u32 {
            let bytes = Bytes::copy_from_slice(&number.to_le_bytes());
            versions.push(versions[versions.len() - 1].append(bytes));
        }
        let last = versions.pop().unwrap();
        let kept = versions[3].clone();
        drop(versions);
        assert_eq!(last.read().len(), last.len());
        drop(last);
        assert_eq!(kept.read(), [0_u32, 1, 2].map(u32::to_le_bytes).concat());
        assert_eq!(kept.appended().unwrap()[..], 2_u32.to_le_bytes());
        assert_eq!(Body::whole(Bytes::from("x")).appended(), None);
    }
}
