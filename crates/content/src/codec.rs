//! Compressing and decompressing one chunk.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use bytes::Bytes;
use statehouse_contracts::{Compression, Error, Result};
use zstd::bulk::{Compressor, Decompressor};

use crate::chunk::corrupted;

/// Fast rather than small: most content is read soon and seldom kept long.
const ZSTD_LEVEL: i32 = 1;

/// What a thread reuses: making a zstd context costs more than compressing a small chunk, and
/// compressing into a buffer of its own keeps the stored bytes free of spare room.
struct Workbench {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    buffer: Vec<u8>,
}

thread_local! {
    static WORKBENCH: RefCell<Workbench> = const {
        RefCell::new(Workbench { compressor: None, decompressor: None, buffer: Vec::new() })
    };
}

pub(crate) fn compress(plain: Bytes, compression: Compression) -> Result<Bytes> {
    if matches!(compression, Compression::None | Compression::Auto) {
        return Ok(plain);
    }
    WORKBENCH.with_borrow_mut(|bench| {
        bench.buffer.clear();
        let done = match compression {
            Compression::Gzip => gzip(&plain, &mut bench.buffer),
            Compression::Lz4 => lz4(&plain, &mut bench.buffer),
            _ => bench.zstd(&plain),
        };
        done.map_err(|error| {
            Error::internal(format!("compression by {compression:?} failed")).with_source(error)
        })?;
        Ok(Bytes::copy_from_slice(&bench.buffer))
    })
}

/// Gives at most one byte more than `plain_len`, whatever `stored` claims of itself.
pub(crate) fn decompress(
    stored: &Bytes,
    plain_len: usize,
    compression: Compression,
) -> Result<Bytes> {
    let mut plain = Vec::with_capacity(plain_len + 1);
    let limit = plain_len as u64 + 1;
    let done = match compression {
        Compression::None | Compression::Auto => return Ok(stored.clone()),
        Compression::Gzip => read(flate2::read::GzDecoder::new(&stored[..]), limit, &mut plain),
        Compression::Lz4 => read(
            lz4_flex::frame::FrameDecoder::new(&stored[..]),
            limit,
            &mut plain,
        ),
        Compression::Zstd => WORKBENCH.with_borrow_mut(|bench| bench.unzstd(stored, &mut plain)),
    };
    done.map_err(|error| {
        corrupted(format!("the stored bytes are no {compression:?}")).with_source(error)
    })?;
    Ok(plain.into())
}

impl Workbench {
    fn zstd(&mut self, plain: &[u8]) -> io::Result<()> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(ZSTD_LEVEL)?),
        };
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, &mut self.buffer)?;
        Ok(())
    }

    fn unzstd(&mut self, stored: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(stored, plain)?;
        Ok(())
    }
}

fn gzip(plain: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(buffer, flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()?;
    Ok(())
}

fn lz4(plain: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(buffer);
    encoder.write_all(plain)?;
    encoder.finish()?;
    Ok(())
}

fn read(decoder: impl Read, limit: u64, plain: &mut Vec<u8>) -> io::Result<()> {
    decoder.take(limit).read_to_end(plain)?;
    Ok(())
}
