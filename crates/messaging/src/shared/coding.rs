//! How a value is stored: compressed where that is smaller, and with the checksum of its plain bytes.
//!
//! Both stand in a parameter of the record's media type, `;statehouse=<coding>:<length>:<sha256>`,
//! so that a value that is not compressed reads as it is for everybody else.

use std::cell::RefCell;

use bytes::Bytes;
use statehouse_contracts::{ContentType, Error, ErrorKind, ReferenceId, Result};
use zstd::bulk::{Compressor, Decompressor};

/// From this many plain bytes on, compression is tried.
const COMPRESS_FROM: usize = 1024;

/// Fast rather than small: what agents share changes often.
const LEVEL: i32 = 1;

const PARAMETER: &str = ";statehouse=";

thread_local! {
    /// Making a context costs more than compressing a small value.
    static CONTEXTS: RefCell<Contexts> = const {
        RefCell::new(Contexts { compressor: None, decompressor: None })
    };
}

struct Contexts {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) data: Bytes,
    pub(super) content_type: ContentType,
    pub(super) checksum: ReferenceId,
}

/// A value as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) data: Bytes,
    pub(super) content_type: ContentType,
    pub(super) checksum: ReferenceId,
}

pub(super) fn encode(plain: &Bytes, content_type: &ContentType) -> Result<Stored> {
    let checksum = ReferenceId::of(plain);
    let compressed = match plain.len() {
        0..COMPRESS_FROM => None,
        len => compress(plain)?.filter(|compressed| compressed.len() < len),
    };
    let coding = if compressed.is_some() {
        "zstd"
    } else {
        "plain"
    };
    let marked = format!(
        "{content_type}{PARAMETER}{coding}:{}:{checksum}",
        plain.len()
    );
    let content_type = ContentType::new(marked).map_err(|error| {
        Error::invalid(format!(
            "the media type {content_type} is too long: {error}"
        ))
    })?;
    Ok(Stored {
        data: compressed.unwrap_or_else(|| plain.clone()),
        content_type,
        checksum,
    })
}

/// Takes a record that somebody else wrote as it is. `max` bounds what a value may claim to be.
pub(super) fn decode(data: Bytes, content_type: &ContentType, max: usize) -> Result<Plain> {
    let Some((own, marks)) = content_type.as_str().rsplit_once(PARAMETER) else {
        return Ok(Plain {
            checksum: ReferenceId::of(&data),
            content_type: content_type.clone(),
            data,
        });
    };
    let (coding, len, checksum) =
        parse(marks).ok_or_else(|| corrupted(format!("the marks {marks:?} make no sense")))?;
    if len > max {
        return Err(corrupted(format!(
            "it claims {len} bytes, at most {max} are possible"
        )));
    }
    let data = match coding {
        "plain" => data,
        _ => decompress(&data, len)?,
    };
    if data.len() != len || ReferenceId::of(&data) != checksum {
        return Err(corrupted("it does not match its checksum".to_owned()));
    }
    Ok(Plain {
        data,
        content_type: ContentType::new(own)?,
        checksum,
    })
}

fn parse(marks: &str) -> Option<(&str, usize, ReferenceId)> {
    let mut parts = marks.split(':');
    let coding = parts
        .next()
        .filter(|coding| matches!(*coding, "plain" | "zstd"))?;
    let len = parts.next()?.parse().ok()?;
    let checksum = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((coding, len, checksum))
}

fn compress(plain: &Bytes) -> Result<Option<Bytes>> {
    let failed = |error| Error::internal("zstd cannot compress").with_source(error);
    CONTEXTS.with_borrow_mut(|contexts| {
        let compressor = match &mut contexts.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).map_err(failed)?),
        };
        let compressed = compressor.compress(plain).map_err(failed)?;
        // Into a buffer of its own length: what is stored has no spare room.
        Ok((compressed.len() < plain.len()).then(|| Bytes::copy_from_slice(&compressed)))
    })
}

fn decompress(stored: &Bytes, len: usize) -> Result<Bytes> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let decompressor = match &mut contexts.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(
                Decompressor::new()
                    .map_err(|error| Error::internal("zstd cannot start").with_source(error))?,
            ),
        };
        let plain = decompressor.decompress(stored, len);
        let plain = plain
            .map_err(|error| corrupted("it cannot be decompressed".to_owned()).with_source(error));
        plain.map(Bytes::from)
    })
}

fn corrupted(why: String) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("a shared value is damaged: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn read(stored: &Stored) -> Result<Plain> {
        decode(stored.data.clone(), &stored.content_type, MAX)
    }

    #[test]
    fn b41_values_are_compressed_from_1024_bytes_on_when_that_is_smaller() {
        let noise: Vec<u8> = (0..4_096_u32)
            .flat_map(|n| ReferenceId::of(&n.to_le_bytes()).digest().to_owned())
            .collect();
        let table = [
            (vec![b'a'; 0], false),
            (vec![b'a'; 1_023], false),
            (vec![b'a'; 1_024], true),
            (noise, false),
        ];
        for (plain, compressed) in table {
            let plain = Bytes::from(plain);
            let stored = encode(&plain, &ContentType::JSON).unwrap();
            assert_eq!(
                stored.data.len() < plain.len(),
                compressed,
                "{}",
                plain.len()
            );
            let back = read(&stored).unwrap();
            assert_eq!(
                (&back.data, &back.content_type),
                (&plain, &ContentType::JSON)
            );
            assert_eq!(back.checksum, ReferenceId::of(&plain));
        }
    }

    #[test]
    fn b41_damage_is_found_when_it_is_read() {
        for size in [100, 10_000] {
            let mut stored = encode(&vec![b'a'; size].into(), &ContentType::TEXT).unwrap();
            let mut data = stored.data.to_vec();
            *data.last_mut().unwrap() ^= 1;
            stored.data = data.into();
            assert_eq!(read(&stored).unwrap_err().kind(), ErrorKind::Corrupted);
        }
        let huge = "text/plain;statehouse=zstd:99999999999:00".replace("00", &"0".repeat(64));
        for marks in [&huge, "a/b;statehouse=", "a/b;statehouse=gzip:1:x"] {
            let error = decode(Bytes::new(), &ContentType::new(marks).unwrap(), MAX);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupted, "{marks}");
        }
    }

    #[test]
    fn what_others_wrote_is_taken_as_it_is() {
        let plain = decode("raw".into(), &ContentType::TEXT, MAX).unwrap();
        assert_eq!(plain.data, "raw");
        assert_eq!(plain.content_type, ContentType::TEXT);
    }
}
