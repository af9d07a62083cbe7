//! Chromium without a window, where it is installed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::harness::log::Log;

/// A browser on one page; it is killed when dropped, with all its processes.
pub struct Chromium {
    child: Child,
    said: Log,
    _home: TempDir,
}

/// Whether there is what is needed; if not, says that `test` is left out.
pub fn is_there_for(test: &str) -> bool {
    for (program, package) in [("chromium", "chromium"), ("certutil", "libnss3-tools")] {
        let asked = Command::new(program).arg("--version").output();
        if asked.is_err() {
            eprintln!("LEFT OUT: {test} needs {program} (Debian: apt-get install {package})");
            return false;
        }
    }
    true
}

impl Chromium {
    /// Opens `url`, for a user who trusts the authority in this file.
    pub fn open(url: &str, authority: &Path) -> Chromium {
        let home = TempDir::new().unwrap();
        trust(home.path(), authority);
        let child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            // In a container /dev/shm is small.
            .arg("--disable-dev-shm-usage")
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("data").display()
            ))
            .arg(url)
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("chromium runs");
        let mut chromium = Chromium {
            said: Log::follow(std::io::empty()),
            child,
            _home: home,
        };
        chromium.said = Log::follow(chromium.child.stderr.take().unwrap());
        chromium
    }
}

/// Chromium on Linux takes a user's own authorities from the NSS database in the home directory.
fn trust(home: &Path, authority: &Path) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let certutil = |arguments: &[&str]| {
        let status = Command::new("certutil")
            .arg("-d")
            .arg(format!("sql:{}", database.display()))
            .args(arguments)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
    };
    certutil(&["-N", "--empty-password"]);
    let file = authority.display().to_string();
    certutil(&["-A", "-n", "test", "-t", "C,,", "-i", &file]);
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- chromium's errors:\n{}---", self.said);
        }
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
