//! One vector: a message, and what must come of it.

use crate::support::{names, sha_256};

/// As `testdata/README.md` has it.
pub(crate) struct Vector {
    pub(crate) name: String,
    expect: &'static str,
    key: &'static str,
    /// What may be released, also where it fails in the end.
    released: Vec<u8>,
    contains: &'static str,
    comment: String,
    message: Vec<u8>,
}

impl Vector {
    fn new(name: impl Into<String>, key: &'static str, message: Vec<u8>) -> Self {
        let (name, comment) = (name.into(), String::new());
        Self { name, expect: "ok", key, released: Vec::new(), contains: "", comment, message }
    }

    /// A message that opens.
    pub(crate) fn ok(name: impl Into<String>, key: &'static str, message: Vec<u8>, plaintext: &[u8]) -> Self {
        Self { released: plaintext.to_vec(), ..Self::new(name, key, message) }
    }

    /// A message that fails, with nothing released.
    pub(crate) fn fails(
        name: impl Into<String>,
        key: &'static str,
        message: Vec<u8>,
        expect: &'static str,
        contains: &'static str,
    ) -> Self {
        assert!(names::ALL.contains(&expect), "no error is called {expect}");
        Self { expect, contains, ..Self::new(name, key, message) }
    }

    /// What is released before the failure.
    pub(crate) fn after(self, released: &[u8]) -> Self {
        Self { released: released.to_vec(), ..self }
    }

    pub(crate) fn comment(self, comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), ..self }
    }

    /// The file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text =
            format!("expect: {}\nkey: {}\npayload-sha256: {}\n", self.expect, self.key, sha_256(&self.released));
        for (key, value) in [("message-contains", self.contains), ("comment", &*self.comment)] {
            assert!(!value.contains('\n'), "one line");
            if !value.is_empty() {
                text += &format!("{key}: {value}\n");
            }
        }
        [text.as_bytes(), b"\n", &self.message].concat()
    }
}
