//! A data folder on a file system of its own, in one file: what a power cut would leave is a copy of that file while
//! the node runs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::ground::{run, text};

/// A mounted file system in a file; dropping it unmounts it.
pub(crate) struct Image {
    file: PathBuf,
    at: PathBuf,
}

impl Image {
    /// Makes a file system and mounts it at a folder, whose content moves into it.
    pub(crate) fn before(folder: &Path, file: &Path, megabytes: u64) -> anyhow::Result<Self> {
        File::create(file)?.set_len(megabytes * 1024 * 1024)?;
        // Little of its own, so that a copy is quick.
        let own = ["-q", "-F", "-m", "0", "-N", "2048", "-J", "size=4", "-E", "lazy_itable_init=1"];
        run("mkfs.ext4", &[&own[..], &[text(file)?]].concat())?;
        let aside = folder.with_extension("aside");
        fs::rename(folder, &aside)?;
        fs::create_dir(folder)?;
        let image = Self::mount(file, folder)?;
        run("cp", &["-a", &format!("{}/.", text(&aside)?), text(folder)?])?;
        run("sync", &["-f", text(folder)?])?;
        fs::remove_dir_all(&aside)?;
        Ok(image)
    }

    /// Mounts a file system as it is. Nothing but a sync brings anything into the file for five minutes.
    pub(crate) fn mount(file: &Path, at: &Path) -> anyhow::Result<Self> {
        run("mount", &["-o", "loop,commit=300", text(file)?, text(at)?])?;
        Ok(Self { file: file.to_owned(), at: at.to_owned() })
    }

    /// Copies the file system as the device holds it now.
    pub(crate) fn copy(&self, to: &Path) -> anyhow::Result<()> {
        run("cp", &["--sparse=auto", text(&self.file)?, text(to)?])
    }

    /// Puts the file system back to a copy, as a power cut does, and mounts it again.
    pub(crate) fn put_back(self, copy: &Path) -> anyhow::Result<Self> {
        let (file, at) = (self.file.clone(), self.at.clone());
        // What is not on the device yet is written into a file that goes away.
        drop(self);
        fs::rename(copy, &file)?;
        Self::mount(&file, &at)
    }

    /// Takes room away, so that so many megabytes are left; none means none at all.
    pub(crate) fn fill(&self, left_megabytes: u64) -> anyhow::Result<()> {
        let space = rustix::fs::statvfs(&self.at)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let file = File::create(self.ballast())?;
        let mut take = free.saturating_sub(left_megabytes * 1024 * 1024);
        // The file system's own need is not known beforehand.
        while take > 0 {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, take) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::NOSPC) => take = take.saturating_sub(256 * 1024),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn relieve(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let unmounted =
            text(&self.at).and_then(|at| run("umount", &[at]).or_else(|_| run("umount", &["-l", at])));
        if let Err(error) = unmounted {
            super::say(&error.to_string());
        }
    }
}

/// Why file systems of one's own cannot be made here, if they cannot.
pub(crate) fn obstacle(folder: &Path) -> Option<String> {
    let attempt = || -> anyhow::Result<()> {
        let (file, at) = (folder.join("probe.image"), folder.join("probe"));
        fs::create_dir_all(&at)?;
        drop(Image::before(&at, &file, 16)?);
        Ok(fs::remove_file(&file)?)
    };
    attempt().err().map(|error| error.to_string())
}
