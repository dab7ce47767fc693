//! Every limit of the archive that is read, each with its unit and its reason. A length read from
//! input passes one of these before memory is asked for. Those of paths stand in `paths`.

use crate::paths;

/// The unit of a tar stream, in bytes (POSIX.1-2024, pax, "ustar Interchange Format").
pub const BLOCK: usize = 512;

/// Longest pax header of a member, in bytes: 4 MiB. Two of the longest paths and 50 extended
/// attributes of the greatest length fit; ext4 keeps all of a file's in one block of 4 KiB.
pub const PAX_HEADER: usize = 4 << 20;

/// Most of a pax header that a member's attributes may take, in bytes; the rest is for what else it
/// may say: two paths and some numbers.
pub const ATTRIBUTES: usize = PAX_HEADER - 2 * paths::LONGEST - (16 << 10);

/// Most records of one pax header. The names of a file's extended attributes together take at
/// most 64 KiB (`XATTR_LIST_MAX`), each at least seven bytes (`user.a` and a NUL): 9,362.
pub const PAX_RECORDS: usize = 10_000;

/// Longest name of an extended attribute, in bytes: `XATTR_NAME_MAX`.
pub const XATTR_NAME: usize = 255;

/// Longest value of an extended attribute, in bytes: `XATTR_SIZE_MAX`.
pub const XATTR_VALUE: usize = 64 << 10;

/// Longest ACL as text, in bytes: 1 MiB. As an extended attribute it has at most 8,191 entries,
/// each less than 100 bytes of text.
pub const ACL_TEXT: usize = 1 << 20;

/// Most extents of one sparse file, the last and empty one included: 65,536, which is 1 MiB of
/// memory, and at most 2.5 MiB of map. A file with more is stored whole.
pub const EXTENTS: usize = 1 << 16;

/// Largest file and offset, in bytes: what the kernel's signed 64 bits hold.
pub const FILE_SIZE: u64 = i64::MAX as u64;

/// Most zeros after the end of a tar stream, in bytes: 1 MiB. GNU tar fills up to a multiple of
/// 10,240; a blocking factor of 2,048 is the largest in use.
pub const TRAILING_ZEROS: u64 = 1 << 20;

/// Memory for what the last pass must know of folders, in bytes: 4 MiB, some 40,000 folders. More
/// go to a file without a name.
pub const FOLDERS_IN_MEMORY: usize = 4 << 20;

/// The most that stands before a member's content, in bytes: 8 MiB hold a pax header, a ustar header,
/// and the map of a sparse file, whose every extent takes two numbers of up to 19 digits.
pub const HEADER: u64 = 8 << 20;

const _: () = {
    assert!((PAX_HEADER + 4 * BLOCK + (EXTENTS + 1) * 40) as u64 <= HEADER);
    assert!(ATTRIBUTES >= 50 * (XATTR_NAME + XATTR_VALUE) && XATTR_VALUE < ACL_TEXT);
};
