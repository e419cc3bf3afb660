//! Cutting content into chunks, and putting it together again.

use bytes::{Bytes, BytesMut};
use statehouse_contracts::{Compression, Error, ErrorKind, ReferenceId, Result};
use twox_hash::XxHash3_64;

use crate::codec;

/// The plain bytes of every chunk but the last, which may be shorter.
pub const CHUNK_LEN: usize = 64 * 1024;

/// From this many plain bytes on, [`Compression::Auto`] tries to compress.
const AUTO_FROM: usize = 1024;

/// A part of content, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The stored bytes.
    pub stored: Bytes,
    /// How many plain bytes they stand for, at most [`CHUNK_LEN`].
    pub plain_len: u32,
    /// XXH3 (64 bits, no seed) of the stored bytes.
    pub checksum: u64,
}

impl Chunk {
    fn new(stored: Bytes, plain_len: usize) -> Self {
        Self {
            checksum: XxHash3_64::oneshot(&stored),
            // At most CHUNK_LEN, so it fits.
            plain_len: plain_len as u32,
            stored,
        }
    }

    /// The plain bytes, verified. Uncompressed ones are shared, not copied.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) when the checksum is another, or the bytes do not
    /// decompress to what they should.
    pub fn decode(&self, compression: Compression) -> Result<Bytes> {
        let sum = XxHash3_64::oneshot(&self.stored);
        if sum != self.checksum {
            return Err(corrupted(format!(
                "the stored bytes have the checksum {sum:016x}, not {:016x}",
                self.checksum
            )));
        }
        if self.plain_len as usize > CHUNK_LEN {
            return Err(corrupted(format!(
                "the chunk claims {} plain bytes, at most {CHUNK_LEN} are possible",
                self.plain_len
            )));
        }
        let plain = codec::decompress(&self.stored, self.plain_len as usize, compression)?;
        if plain.len() != self.plain_len as usize {
            return Err(corrupted(format!(
                "the chunk has {} plain bytes, not {}",
                plain.len(),
                self.plain_len
            )));
        }
        Ok(plain)
    }
}

/// Content in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// How the chunks are compressed; never [`Compression::Auto`].
    pub compression: Compression,
    /// The plain bytes of all chunks.
    pub plain_len: u64,
    /// The chunks, in order.
    pub chunks: Vec<Chunk>,
}

impl Encoded {
    /// The stored bytes of all chunks.
    pub fn stored_len(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| chunk.stored.len() as u64)
            .sum()
    }

    /// The whole content, verified chunk by chunk and against its id.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted).
    pub fn decode(&self, id: &ReferenceId) -> Result<Bytes> {
        let plain = decode_all(self.compression, &self.chunks)?;
        if plain.len() as u64 != self.plain_len {
            return Err(corrupted(format!(
                "the content has {} bytes, not {}",
                plain.len(),
                self.plain_len
            )));
        }
        if ReferenceId::of(&plain) != *id {
            return Err(corrupted("the content has another SHA-256".to_owned()));
        }
        Ok(plain)
    }
}

/// Brings content into its stored form. Uncompressed chunks share `plain`, they do not copy it.
///
/// # Errors
/// [`Internal`](ErrorKind::Internal) when a compressor fails.
pub fn encode(plain: &Bytes, compression: Compression) -> Result<Encoded> {
    match compression {
        Compression::Auto if plain.len() < AUTO_FROM => encode_as(plain, Compression::None),
        Compression::Auto => {
            let tried = encode_as(plain, Compression::Zstd)?;
            if tried.stored_len() < tried.plain_len {
                Ok(tried)
            } else {
                encode_as(plain, Compression::None)
            }
        }
        chosen => encode_as(plain, chosen),
    }
}

fn encode_as(plain: &Bytes, compression: Compression) -> Result<Encoded> {
    let chunk = |start: usize| {
        let part = plain.slice(start..plain.len().min(start + CHUNK_LEN));
        let plain_len = part.len();
        Ok(Chunk::new(codec::compress(part, compression)?, plain_len))
    };
    Ok(Encoded {
        compression,
        plain_len: plain.len() as u64,
        chunks: (0..plain.len())
            .step_by(CHUNK_LEN)
            .map(chunk)
            .collect::<Result<_>>()?,
    })
}

/// The plain bytes of consecutive chunks, each verified.
pub(crate) fn decode_all(compression: Compression, chunks: &[Chunk]) -> Result<Bytes> {
    let decode = |(index, chunk): (usize, &Chunk)| {
        let named = |error: Error| error.with_context("chunk", index);
        chunk.decode(compression).map_err(named)
    };
    if let [only] = chunks {
        return decode((0, only));
    }
    let mut whole = BytesMut::with_capacity(chunks.iter().map(|c| c.plain_len as usize).sum());
    for part in chunks.iter().enumerate().map(decode) {
        whole.extend_from_slice(&part?);
    }
    Ok(whole.freeze())
}

pub(crate) fn corrupted(message: String) -> Error {
    Error::new(ErrorKind::Corrupted, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Window;

    const ALL: [Compression; 5] = [
        Compression::Auto,
        Compression::None,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Lz4,
    ];

    /// Text that compresses, over several chunks.
    fn text() -> Bytes {
        let lines: String = (0..20_000)
            .map(|n| format!("line {n} of a log\n"))
            .collect();
        Bytes::from(lines)
    }

    /// Bytes that do not compress.
    fn noise(len: usize) -> Bytes {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn each_compression_is_honoured_and_reads_back() {
        let plain = text();
        for compression in ALL {
            let encoded = encode(&plain, compression).unwrap();
            let expected = if compression == Compression::Auto {
                Compression::Zstd
            } else {
                compression
            };
            assert_eq!(encoded.compression, expected);
            let smaller = encoded.stored_len() < plain.len() as u64;
            assert_eq!(smaller, expected != Compression::None, "{compression:?}");
            assert_eq!(encoded.decode(&ReferenceId::of(&plain)).unwrap(), plain);
        }
    }

    #[test]
    fn auto_compresses_from_1024_bytes_and_only_what_gets_smaller() {
        let auto = |plain: Bytes| encode(&plain, Compression::Auto).unwrap().compression;
        assert_eq!(auto(text().slice(..1023)), Compression::None);
        assert_eq!(auto(text().slice(..1024)), Compression::Zstd);
        assert_eq!(auto(noise(100_000)), Compression::None);
    }

    #[test]
    fn each_flipped_byte_is_found_by_the_chunk_that_has_it() {
        let plain = text();
        for compression in ALL {
            let encoded = encode(&plain, compression).unwrap();
            for (index, at) in [(0, 0), (1, 99), (2, 7)] {
                let mut damaged = encoded.clone();
                let mut bytes = damaged.chunks[index].stored.to_vec();
                bytes[at] ^= 1;
                damaged.chunks[index].stored = bytes.into();
                let error = damaged.decode(&ReferenceId::of(&plain)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupted);
                assert!(
                    error.to_string().contains(&format!("chunk={index}")),
                    "{error}"
                );
                let range = (index * CHUNK_LEN) as u64..(index * CHUNK_LEN + 5) as u64;
                let window = Window::of(damaged.plain_len, range).unwrap();
                let read = window.decode(damaged.compression, &damaged.chunks[window.chunks()]);
                assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupted);
            }
        }
    }

    #[test]
    fn damage_with_a_matching_checksum_is_found_by_length_or_id() {
        let plain = text();
        for compression in ALL {
            let encoded = encode(&plain, compression).unwrap();
            let other = Chunk::new(noise(500), 500);
            let swapped = encode(
                &noise(encoded.chunks[0].plain_len as usize),
                encoded.compression,
            );
            for chunk in [other, swapped.unwrap().chunks[0].clone()] {
                let mut damaged = encoded.clone();
                damaged.chunks[0] = chunk;
                let error = damaged.decode(&ReferenceId::of(&plain)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{compression:?}");
            }
        }
    }

    #[test]
    fn uncompressed_chunks_share_the_plain_bytes() {
        let plain = noise(3 * CHUNK_LEN);
        let encoded = encode(&plain, Compression::None).unwrap();
        assert_eq!(
            encoded.chunks[1].stored.as_ptr(),
            plain[CHUNK_LEN..].as_ptr()
        );
    }

    proptest! {
        #[test]
        fn stored_bytes_that_are_anything_are_refused_or_have_the_length(
            stored in prop::collection::vec(any::<u8>(), 0..300),
            plain_len in prop::sample::select(vec![0, 1, 200, 65_536, 65_537, u32::MAX]),
        ) {
            for compression in ALL {
                let chunk = Chunk { plain_len, ..Chunk::new(stored.clone().into(), 0) };
                match chunk.decode(compression) {
                    Ok(plain) => prop_assert_eq!(plain.len(), plain_len as usize),
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupted),
                }
            }
        }
    }
}
