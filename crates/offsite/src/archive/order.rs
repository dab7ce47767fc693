//! The order of paths in a backup.

use std::cmp::Ordering;

/// Compares two archive paths component by component: a folder comes before what it holds, and
/// all that it holds before whatever follows it. As bytes: '/' sorts below every other.
#[must_use]
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let differing = one.iter().zip(other).find(|(one, other)| one != other);
    match differing {
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
}
