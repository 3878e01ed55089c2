//! Ring 3: real clients and servers in network namespaces, balanced by the real agent and its packet programs.

mod wiring;
