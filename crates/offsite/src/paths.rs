//! Paths within a backup: components joined by `/`, of any bytes; the empty path is that of the
//! folder that everything else lies in (format.md §12.2).

use std::cmp::Ordering;

/// Longest path, link target or leader, in bytes: 64 KiB. The kernel takes 4,095 at a time, but a
/// walk by handles reaches deeper.
pub const LONGEST: usize = 64 << 10;

/// What keeps bytes from being a path of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// It is that of the folder that everything else lies in.
    #[error("is empty, as only a folder's can be")]
    Empty,
    /// It begins at the root.
    #[error("is absolute")]
    Absolute,
    /// It leads upwards.
    #[error("holds \"..\"")]
    Parent,
    /// It has a component that says nothing.
    #[error("holds \".\"")]
    Current,
    /// It has two slashes in a row, or one at the end.
    #[error("holds an empty component")]
    EmptyComponent,
    /// No name holds it.
    #[error("holds a NUL")]
    Nul,
    /// Longer than may be.
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
}

/// Checks a path, which may be the empty one.
///
/// # Errors
///
/// Why it may not be.
pub fn check(path: &[u8]) -> Result<(), PathFault> {
    if path.is_empty() { Ok(()) } else { check_inner(path) }
}

/// Checks the path of something that lies in a folder: any but the empty one.
///
/// # Errors
///
/// Why it may not be.
pub fn check_inner(path: &[u8]) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.len() > LONGEST {
        return Err(PathFault::TooLong);
    }
    if path.contains(&0) {
        return Err(PathFault::Nul);
    }
    if path.starts_with(b"/") {
        return Err(PathFault::Absolute);
    }
    path.split(|byte| *byte == b'/').try_for_each(|component| match component {
        b"" => Err(PathFault::EmptyComponent),
        b"." => Err(PathFault::Current),
        b".." => Err(PathFault::Parent),
        _ => Ok(()),
    })
}

/// Compares two paths component by component: a folder comes before what it holds, and all that it
/// holds before whatever follows it. As bytes: '/' sorts below every other.
#[must_use]
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    match one.iter().zip(other).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((one, other)) => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, against which the short cut is tested.
    fn by_components(one: &[u8], other: &[u8]) -> Ordering {
        one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
    }

    #[test]
    fn a_folders_contents_follow_it() {
        let sorted: [&[u8]; 8] = [b"", b"a", b"a/\x01", b"a/b", b"a/b/c", b"a\x01", b"a!", b"a!/b"];
        assert!(sorted.is_sorted_by(|one, other| compare(one, other).is_lt()));
    }

    #[test]
    fn is_the_order_of_components() {
        let components: [&[u8]; 6] = [b"a", b"a!", b"\x01", b"b", b"a.b", b"\xff"];
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for one in components {
            paths.push(one.to_vec());
            for two in components {
                paths.push([one, two].join(&b'/'));
                for three in components {
                    paths.push([one, two, three].join(&b'/'));
                }
            }
        }
        for one in &paths {
            for other in &paths {
                assert_eq!(compare(one, other), by_components(one, other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn paths_lead_nowhere_else() {
        for good in ["a", "a/b", "...", "a/.b", "..a/b..", " ", "a\nb", &"a".repeat(LONGEST)] {
            assert_eq!((check(good.as_bytes()), check_inner(good.as_bytes())), (Ok(()), Ok(())), "{good:?}");
        }
        assert_eq!((check(b""), check_inner(b"")), (Ok(()), Err(PathFault::Empty)));
        for (bad, fault) in [
            ("/", PathFault::Absolute),
            ("/a", PathFault::Absolute),
            ("a/", PathFault::EmptyComponent),
            ("a//b", PathFault::EmptyComponent),
            (".", PathFault::Current),
            ("a/.", PathFault::Current),
            ("..", PathFault::Parent),
            ("a/../b", PathFault::Parent),
            ("a\0", PathFault::Nul),
            (&"a".repeat(LONGEST + 1), PathFault::TooLong),
        ] {
            assert_eq!((check(bad.as_bytes()), check_inner(bad.as_bytes())), (Err(fault), Err(fault)), "{bad:?}");
        }
    }
}
