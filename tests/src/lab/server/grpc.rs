//! A gRPC server of Debian's python3-grpcio, which has a health service.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::http::is_listening;
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// The port of the servers.
pub const PORT: u16 = 50_051;

/// Where Debian's package puts it.
pub const MODULE: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";

/// Answers `grpc.health.v1.Health/Check` with the number in a file. The messages are a few bytes, so they are
/// written as they are.
const SCRIPT: &str = r#"
import sys
from concurrent import futures
import grpc

port, status = sys.argv[1:]

def check(request, context):
    with open(status) as file:
        return bytes([8, int(file.read())])

handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
server.add_insecure_port(f"[::]:{port}")
server.start()
server.wait_for_termination()
"#;

/// A running server.
#[derive(Debug)]
pub struct Grpc {
    _process: Process,
    status: PathBuf,
}

impl Grpc {
    /// Starts it, serving, and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(vm: &Namespace, name: &str, directory: &Path) -> Result<Self> {
        let status = directory.join(format!("grpc-{name}.status"));
        let log = directory.join(format!("grpc-{name}.log"));
        Self::set(&status, true)?;
        let mut command = vm.command("/usr/bin/python3");
        command.args(["-c", SCRIPT, &PORT.to_string()]).arg(&status);
        let process = Process::start(&mut command, log)?;
        wait::until(&format!("the gRPC server of {name} listens"), Duration::from_secs(30), || {
            is_listening(vm, PORT)
        })
        .with_context(|| process.log())?;
        Ok(Self { _process: process, status })
    }

    /// Says from now on whether it serves.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn serve(&self, serves: bool) -> Result<()> {
        Self::set(&self.status, serves)
    }

    fn set(path: &Path, serves: bool) -> Result<()> {
        let fresh = path.with_extension("new");
        fs::write(&fresh, if serves { "1" } else { "2" }).context("write the status")?;
        fs::rename(&fresh, path).context("replace the status")
    }
}
