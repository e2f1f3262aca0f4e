//! Fields as bytes, for another process of the same build.

use bytes::{Buf as _, BufMut as _, Bytes};

/// Writes fields one after another.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// `size`: its approximate length.
    pub(super) fn new(kind: u8, size: usize) -> Self {
        let mut bytes = Vec::with_capacity(size + 512);
        bytes.put_u8(kind);
        Writer(bytes)
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.put_u64(number);
    }

    pub(super) fn bytes(&mut self, field: &[u8]) {
        self.number(field.len() as u64);
        self.0.put_slice(field);
    }

    pub(super) fn option(&mut self, field: Option<&[u8]>) {
        self.0.put_u8(u8::from(field.is_some()));
        self.bytes(field.unwrap_or_default());
    }
}

/// Reads the fields. `None`: there is no such field.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn number(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.number()?).ok()?;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// The outer `None` is the error.
    pub(super) fn option(&mut self) -> Option<Option<Bytes>> {
        let is_some = self.0.try_get_u8().ok()? == 1;
        let field = self.bytes()?;
        Some(is_some.then_some(field))
    }
}
