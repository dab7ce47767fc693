//! How files are cut into frames, by how much a slice holds: a frame never crosses a slice (format.md
//! §16.2).

use crate::chunks::Sizes;
use crate::frames;

/// How files are cut into frames. All in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A bundle ends once it has passed this: 4 MiB. Measured on the Linux 6.1 source, larger ones
    /// compress better (205.8 MB in all at 2 MiB, 203.1 MB at 4 MiB), and cost more to open for one file.
    pub(super) bundle: usize,
    /// A bundle ends once it has so many members: while they wait to be read, each takes a kilobyte of memory,
    /// links and empty files as well.
    pub(super) members: usize,
    /// A file this long has frames of its own: 1 MiB.
    pub(super) large: u64,
    /// The most that a frame may hold.
    pub(super) frame: usize,
    /// How a large file is cut.
    pub(super) chunks: Sizes,
}

impl Limits {
    /// For slices whose plaintext is `capacity` bytes long.
    pub(super) fn of_slice(capacity: usize) -> Self {
        // What cannot be compressed grows by less than 1/256 and 64 bytes in 128 KiB (zstd.h,
        // ZSTD_COMPRESSBOUND).
        let frame = (capacity - capacity / 200 - 1024).min(frames::RAW / 2);
        let large = (frame / 8).min(1 << 20);
        Self {
            bundle: (frame / 3).min(4 << 20),
            members: 4096,
            large: large as u64,
            frame,
            chunks: Sizes::up_to(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_contents_fits_its_slice() {
        for capacity in [1 << 20, (1 << 20) - 3000, 16 << 20, 512 << 20] {
            let limits = Limits::of_slice(capacity);
            assert!(zstd::zstd_safe::compress_bound(limits.frame) <= capacity, "{capacity}");
            assert!(limits.bundle + usize::try_from(limits.large).unwrap() < limits.frame);
        }
        let usual = Limits::of_slice((16 << 20) - 5000);
        assert_eq!((usual.bundle, usual.large), (4 << 20, 1 << 20));
    }
}
