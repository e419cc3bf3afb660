//! Chunks as they are stored: plain length and checksum before the bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use statehouse_content::Chunk;
use statehouse_contracts::{Error, ErrorKind, Result};

/// The bytes before those of the chunk: 4 of its plain length, 8 of its checksum.
pub(crate) const HEADER: usize = 12;

/// A chunk as it is stored.
pub(super) fn seal(chunk: &Chunk) -> Bytes {
    let mut sealed = BytesMut::with_capacity(HEADER + chunk.stored.len());
    sealed.put_u32_le(chunk.plain_len);
    sealed.put_u64_le(chunk.checksum);
    sealed.put_slice(&chunk.stored);
    sealed.freeze()
}

/// The chunk of stored bytes, not copied and not yet verified.
///
/// # Errors
/// `Corrupted` when they are too short.
pub(super) fn open(mut sealed: Bytes) -> Result<Chunk> {
    if sealed.len() < HEADER {
        let message = format!("a chunk of {} bytes cannot be one", sealed.len());
        return Err(Error::new(ErrorKind::Corrupted, message));
    }
    Ok(Chunk {
        plain_len: sealed.get_u32_le(),
        checksum: sealed.get_u64_le(),
        stored: sealed,
    })
}

#[cfg(test)]
mod tests {
    use statehouse_content::encode;
    use statehouse_contracts::Compression;

    use super::*;

    #[test]
    fn a_chunk_reads_back() {
        let content = Bytes::from("state ".repeat(40_000));
        for chunk in encode(&content, Compression::Zstd).unwrap().chunks {
            assert_eq!(open(seal(&chunk)).unwrap(), chunk);
        }
    }

    #[test]
    fn bytes_without_a_header_are_damage() {
        let error = open(Bytes::from_static(b"short")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
    }
}
