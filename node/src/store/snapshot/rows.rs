//! The form of a file of raw rows: length of key, length of row, key, row, again and again.

use std::io::{self, Read, Write};

use refpoint_protocol::limits::STORED_KEY_BYTES_MAX;

/// Writes one row.
pub(super) fn write_row(output: &mut impl Write, row_key: &[u8], row: &[u8]) -> io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| too_long());
    output.write_all(&length(row_key)?.to_be_bytes())?;
    output.write_all(&length(row)?.to_be_bytes())?;
    output.write_all(row_key)?;
    output.write_all(row)
}

/// Reads one row, `None` at the end.
///
/// # Errors
/// `UnexpectedEof` within a row, `InvalidData` for a length that no row has.
pub(super) fn read_row(input: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut lengths = [0; 8];
    let mut filled = 0;
    while let Some(rest) = lengths.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (key, row) = lengths.split_at(4);
    let length = |bytes: &[u8], max: usize| {
        let length = bytes.try_into().map(u32::from_be_bytes).ok().and_then(|it| usize::try_from(it).ok());
        length.filter(|length| *length <= max).ok_or_else(too_long)
    };
    let (key, row) = (length(key, ROW_KEY_BYTES_MAX)?, length(row, ROW_BYTES_MAX)?);
    let mut bytes = (vec![0; key], vec![0; row]);
    input.read_exact(&mut bytes.0)?;
    input.read_exact(&mut bytes.1)?;
    Ok(Some(bytes))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a row is longer than any that is stored")
}

/// A table's key behind the prefixes of a set-aside row.
const ROW_KEY_BYTES_MAX: usize = STORED_KEY_BYTES_MAX + 2;

/// Rows have at most 4 KiB, and a set-aside row holds another one.
const ROW_BYTES_MAX: usize = 16 * 1024;
