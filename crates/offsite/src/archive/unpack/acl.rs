//! ACLs: from text, as star and GNU tar write it, to the bytes that Linux takes as an extended
//! attribute (linux/posix_acl_xattr.h).

/// Why a text is no ACL that could be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("\"{}\" is no entry of an ACL", .0.escape_ascii())]
    Entry(Vec<u8>),
    #[error("it is about \"{}\" by name, and only numbers mean the same on every host", .0.escape_ascii())]
    Name(Vec<u8>),
}

const VERSION: u32 = 2;
/// The number of an entry that is about nobody in particular.
const NONE: u32 = u32::MAX;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: u16,
    id: u32,
    permissions: u16,
}

/// The extended attribute for `text`: entries such as `user::rwx`, `user:1000:r-x` and star's
/// `user:name:r-x:1000`, parted by commas or newlines, each maybe with a comment.
pub(super) fn to_xattr(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut entries = Vec::new();
    for line in text.split(|byte| matches!(byte, b',' | b'\n')) {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            entries.push(entry(line)?);
        }
    }
    // The kernel wants them in this order.
    entries.sort();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in entries {
        bytes.extend_from_slice(&entry.tag.to_le_bytes());
        bytes.extend_from_slice(&entry.permissions.to_le_bytes());
        bytes.extend_from_slice(&entry.id.to_le_bytes());
    }
    Ok(bytes)
}

fn entry(line: &[u8]) -> Result<Entry, Fault> {
    let malformed = || Fault::Entry(line.to_vec());
    let mut fields = line.split(|byte| *byte == b':');
    let (tag, who, permissions, id) = match (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    {
        (Some(tag), Some(who), Some(permissions), id, None) => (tag, who, permissions, id),
        _ => return Err(malformed()),
    };
    let permissions = permissions_of(permissions).ok_or_else(malformed)?;
    let tag = match (tag, who.is_empty()) {
        (b"user", true) => 0x01,
        (b"user", false) => 0x02,
        (b"group", true) => 0x04,
        (b"group", false) => 0x08,
        (b"mask", true) => 0x10,
        (b"other", true) => 0x20,
        _ => return Err(malformed()),
    };
    let id = match (who, id) {
        (b"", None) => NONE,
        (b"", Some(_)) => return Err(malformed()),
        (_, Some(id)) => number(id).ok_or_else(malformed)?,
        (who, None) => number(who).ok_or_else(|| Fault::Name(who.to_vec()))?,
    };
    Ok(Entry { tag, id, permissions })
}

fn permissions_of(text: &[u8]) -> Option<u16> {
    let [read, write, execute] = text else { return None };
    let bit = |byte: u8, letter, bit| match byte {
        b'-' => Some(0),
        byte if byte == letter => Some(bit),
        _ => None,
    };
    Some(bit(*read, b'r', 4)? | bit(*write, b'w', 2)? | bit(*execute, b'x', 1)?)
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
    (number != NONE).then_some(number)
}
