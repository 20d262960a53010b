"""listener.py FILE: takes every connection on a free port of this machine, and appends what comes
to FILE, a line for each connection and the bytes as they are. Prints the port."""
import socket
import sys
import threading


def keep(connection, path):
    data = b""
    connection.settimeout(1)
    try:
        data = connection.recv(65536)
    except OSError:
        pass
    with open(path, "ab") as file:
        file.write(b"connection: " + data + b"\n")
    connection.close()


server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=keep, args=(server.accept()[0], sys.argv[1])).start()
