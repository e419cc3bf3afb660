//! Reading a range.

use std::ops::Range;

use bytes::Bytes;
use statehouse_contracts::{Compression, Error, Result};

use crate::chunk::{CHUNK_LEN, Chunk, corrupted, decode_all};

/// A range of plain bytes: which chunks it lies in, and where in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    chunks: Range<usize>,
    cut: Range<usize>,
}

impl Window {
    /// The window of `range` in content of `plain_len` bytes; what lies beyond the end is cut off.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a range that starts
    /// beyond the end or ends before its start.
    pub fn of(plain_len: u64, range: Range<u64>) -> Result<Self> {
        if range.start > plain_len || range.end < range.start {
            return Err(Error::invalid(format!(
                "the range {}..{} does not lie in content of {plain_len} bytes",
                range.start, range.end
            )));
        }
        let chunk = CHUNK_LEN as u64;
        let end = range.end.min(plain_len);
        if range.start == end {
            return Ok(Self {
                chunks: 0..0,
                cut: 0..0,
            });
        }
        let first = range.start / chunk;
        let base = first * chunk;
        Ok(Self {
            chunks: first as usize..end.div_ceil(chunk) as usize,
            cut: (range.start - base) as usize..(end - base) as usize,
        })
    }

    /// The numbers of the chunks to read, from 0.
    pub fn chunks(&self) -> Range<usize> {
        self.chunks.clone()
    }

    /// How many plain bytes are decoded for it: those of its chunks, but for what lies behind it.
    pub fn plain_len(&self) -> usize {
        self.cut.end
    }

    /// The bytes of the range. `chunks` are those that [`chunks`](Self::chunks) names.
    ///
    /// # Errors
    /// [`Corrupted`](statehouse_contracts::ErrorKind::Corrupted) when one of them is damaged or
    /// missing.
    pub fn decode(&self, compression: Compression, chunks: &[Chunk]) -> Result<Bytes> {
        let plain = decode_all(compression, chunks)?;
        if plain.len() < self.cut.end {
            return Err(corrupted(format!(
                "chunks {}..{} have {} bytes, at least {} are needed",
                self.chunks.start,
                self.chunks.end,
                plain.len(),
                self.cut.end
            )));
        }
        Ok(plain.slice(self.cut.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statehouse_contracts::ErrorKind;

    use super::*;
    use crate::encode;

    #[test]
    fn a_range_is_cut_at_the_end_and_refused_beyond_it() {
        assert_eq!(Window::of(10, 10..20).unwrap().chunks(), 0..0);
        assert_eq!(Window::of(10, 3..u64::MAX).unwrap().cut, 3..10);
        #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
        for bad in [11..12, 5..4] {
            let error = Window::of(10, bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn a_missing_chunk_is_damage() {
        let plain = Bytes::from(vec![7; 3 * CHUNK_LEN]);
        let encoded = encode(&plain, Compression::None).unwrap();
        let window = Window::of(encoded.plain_len, 0..plain.len() as u64).unwrap();
        let error = window.decode(Compression::None, &encoded.chunks[..2]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupted);
    }

    proptest! {
        #[test]
        fn any_range_reads_as_a_slice(
            len in 1_usize..200_000,
            start in 0_usize..200_000,
            wide in 0_usize..200_000,
            compression in prop::sample::select(vec![Compression::None, Compression::Lz4, Compression::Zstd]),
        ) {
            let plain: Bytes = (0..len).map(|n| (n / 7) as u8).collect();
            let start = start % (len + 1);
            let encoded = encode(&plain, compression).unwrap();
            let window = Window::of(encoded.plain_len, start as u64..(start + wide) as u64).unwrap();
            let read = window.decode(encoded.compression, &encoded.chunks[window.chunks()]).unwrap();
            prop_assert_eq!(&read[..], &plain[start..len.min(start + wide)]);
        }
    }
}
