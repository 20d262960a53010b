"""forward.py tcp PORT=SOCKET[,...] COMMAND...: what connects to a port of the loopback reaches its
socket while the command runs.
forward.py unix PORT=SOCKET[,...]: the way back, what connects to a socket reaches its port."""

import contextlib
import os
import socket
import subprocess
import sys
import threading


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def open_tcp(port):
    return socket.create_connection(("127.0.0.1", int(port)))


def open_unix(path):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)
    return peer


def listen_tcp(port):
    server = socket.socket()
    server.bind(("127.0.0.1", int(port)))
    server.listen(64)
    return server


def listen_unix(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o700)
    server.listen(64)
    return server


def serve(client, connect, address):
    with contextlib.closing(client):
        try:
            peer = connect(address)
        except OSError:
            return
        with contextlib.closing(peer):
            back = threading.Thread(target=pump, args=(peer, client), daemon=True)
            back.start()
            pump(client, peer)
            back.join()


def accept(server, connect, address):
    while True:
        client, _ = server.accept()
        threading.Thread(target=serve, args=(client, connect, address), daemon=True).start()


def main():
    kind, pairs, *command = sys.argv[1:]
    threads = []
    for pair in pairs.split(","):
        port, path = pair.split("=")
        task = (listen_tcp(port), open_unix, path) if kind == "tcp" else (
            listen_unix(path), open_tcp, port)
        threads.append(threading.Thread(target=accept, args=task, daemon=True))
        threads[-1].start()
    if command:
        sys.exit(subprocess.call(command))
    print("ready", flush=True)
    threads[0].join()


main()
