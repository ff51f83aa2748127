//! Ordered keys: big-endian, concatenated, the table's prefix byte first.

use smallvec::SmallVec;

use crate::table::{Family, Table};

type Bytes = SmallVec<[u8; 48]>;

/// A key under construction, and a finished one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The table that it belongs to.
    pub table: Table,
    bytes: Bytes,
}

impl Key {
    pub(crate) fn new(table: Table) -> Self {
        let mut bytes = Bytes::new();
        bytes.push(table.prefix);
        Self { table, bytes }
    }

    /// Appends a byte.
    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a number so that larger ones come first.
    #[must_use]
    pub fn u32_inverted(self, value: u32) -> Self {
        self.u32(!value)
    }

    /// Appends a number.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a signed number; negative ones come first.
    #[must_use]
    pub fn i64(self, value: i64) -> Self {
        self.u64((value as u64) ^ (1 << 63))
    }

    /// Appends text that is followed by more parts: its bytes and an end mark. Zero bytes in the
    /// text are escaped, so that no text is a prefix of another.
    #[must_use]
    pub fn text(mut self, value: &str) -> Self {
        for &byte in value.as_bytes() {
            self.bytes.push(byte);
            if byte == 0 {
                self.bytes.push(0xff);
            }
        }
        self.bytes.extend_from_slice(&[0, 0]);
        self
    }

    /// Appends bytes as they are: the last part of a key, or of fixed length.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// The bytes on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every key that begins with this one.
    pub fn prefix_range(&self) -> Range {
        Range {
            family: self.table.family,
            start: self.bytes.to_vec(),
            end: successor(&self.bytes),
        }
    }

    /// The keys that begin with this one and go on with a number larger than `after`; without it, every one.
    pub fn behind(&self, after: Option<u64>) -> Range {
        let all = self.prefix_range();
        match after {
            Some(after) => Range {
                start: successor(&self.clone().u64(after).bytes),
                ..all
            },
            None => all,
        }
    }

    /// From this key (included) up to `end` (excluded).
    pub fn until(&self, end: &Key) -> Range {
        Range {
            family: self.table.family,
            start: self.bytes.to_vec(),
            end: end.bytes.to_vec(),
        }
    }

    /// From this key (included) to the last key that begins with `prefix`.
    pub fn until_end_of(&self, prefix: &Key) -> Range {
        Range {
            family: self.table.family,
            start: self.bytes.to_vec(),
            end: successor(&prefix.bytes),
        }
    }

    pub(crate) fn into_parts(self) -> (Family, Vec<u8>) {
        (self.table.family, self.bytes.into_vec())
    }
}

/// Keys from `start` (included) to `end` (excluded) of one family. There always is an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The column family.
    pub family: Family,
    /// First key.
    pub start: Vec<u8>,
    /// First key behind.
    pub end: Vec<u8>,
}

/// The smallest byte string larger than every one that begins with `prefix`. Prefix bytes of tables
/// are below 0xff, so there always is one.
pub(crate) fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// Takes a key apart, from the byte behind the table's prefix.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Reads `key` as it came from a scan.
    pub fn new(key: &'a [u8]) -> Self {
        Self {
            rest: key.get(1..).unwrap_or_default(),
        }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_at_checked(N)?;
        self.rest = rest;
        head.try_into().ok()
    }

    /// Passes over parts of known length.
    pub fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next number that was written inverted.
    pub fn u32_inverted(&mut self) -> Option<u32> {
        self.u32().map(|value| !value)
    }

    /// The next number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next signed number.
    pub fn i64(&mut self) -> Option<i64> {
        self.u64().map(|value| (value ^ (1 << 63)) as i64)
    }

    /// The next text with its end mark.
    pub fn text(&mut self) -> Option<String> {
        let mut out = Vec::new();
        loop {
            match (self.u8()?, out.len()) {
                (0, _) => match self.u8()? {
                    0xff => out.push(0),
                    _ => return String::from_utf8(out).ok(),
                },
                (byte, _) => out.push(byte),
            }
        }
    }

    /// What is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The text that is the rest of a key behind one number.
    pub fn text_behind_number(key: &'a [u8]) -> Option<&'a str> {
        let mut reader = Self::new(key);
        reader.u64()?;
        reader.rest_text()
    }

    /// What is left, if it is text.
    pub fn rest_text(self) -> Option<&'a str> {
        std::str::from_utf8(self.rest).ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::table::MEMBERSHIP;

    #[test]
    fn behind_a_number_are_the_larger_ones_with_the_same_beginning() {
        let prefix = MEMBERSHIP.key().u64(7);
        assert_eq!(prefix.behind(None), prefix.prefix_range());
        let range = prefix.behind(Some(3));
        let has = |number| {
            let key = prefix.clone().u64(number);
            (range.start.as_slice()..range.end.as_slice()).contains(&key.as_bytes())
        };
        assert_eq!([3, 4, u64::MAX].map(has), [false, true, true]);
        let none = prefix.behind(Some(u64::MAX));
        assert_eq!(none.start, none.end);
    }
}
