-- dgrun --machine-process: the ports of a program, and its end. host/proc/machine_process.h
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local json = require "dgrun.core.json"
local machine_ports = require "sandbox.machine_ports"
local proc = require "host.proc"
local server_of = require "host.server"
local task = require "dgrun.core.task"

local PYTHON = "/usr/bin/python3"

local function with_folder(f)
    local dir = fs.temp_dir "machine"
    task.scope(function()
        task.defer(function() fs.remove(dir, { recursive = true }) end)
        f(dir)
    end)
end

local function wrapped(dir, ports, argv)
    return machine_ports.wrap(argv, dir / "report", ports)
end

local function run(dir, ports, argv)
    return assert(proc.run { argv = wrapped(dir, ports, argv), timeout = 20 })
end

---What a Python program prints as JSON.
local function python(dir, ports, text)
    local result = run(dir, ports, { PYTHON, "-I", "-c", "import json, socket, os, sys\n" .. text })
    assert.equal(0, result.status, result.stderr)
    return json.decode(result.stdout), machine_ports.read(dir / "report")
end

local function free_port()
    local server = assert(server_of.listen {})
    local port = server:port()
    server:close()
    return port
end

local function is_running(pid)
    local stat = fs.read("/proc/" .. pid .. "/stat", { limit = 4096 })
    return stat ~= nil and not stat:match("^%d+ %b() [ZX]")
end

describe("a machine's process", function()
    it("ends as its program does", function()
        with_folder(function(dir)
            assert.equal(7, run(dir, { { 0, 0 } }, { "sh", "-c", "exit 7" }).status)
            assert.equal(15, run(dir, { { 0, 0 } }, { "sh", "-c", "kill $$" }).signal)
            local missing = run(dir, { { 0, 0 } }, { dir / "missing" })
            assert.equal(127, missing.status)
            assert.matches("cannot start '.*/missing': No such file", missing.stderr)
            assert.equal(126, run(dir, { { 0, 0 } }, { dir }).status)
            for _, ports in ipairs { "", "x", "1", "1:", "70000:1", "1:2,", "1:2;3:4" } do
                local argv = wrapped(dir, { { 0, 0 } }, { "true" })
                argv[3] = ports
                assert.equal(2, proc.run({ argv = argv }).status)
            end
        end)
    end)

    it("ends what its program left behind, also when it is killed", function()
        with_folder(function(dir)
            local daemon = "setsid sh -c 'echo $$ >" .. dir / "pid" .. "; exec sleep 60' "
                .. ">/dev/null 2>&1 & while ! [ -s " .. dir / "pid" .. " ]; do sleep 0.01; done;"
            assert.equal(0, run(dir, { { 0, 0 } }, { "sh", "-c", daemon .. "exit 0" }).status)
            assert.is_false(is_running(fs.read(dir / "pid"):match("%d+")))
            fs.remove(dir / "pid")
            local child = assert(proc.spawn { argv = wrapped(dir, { { 0, 0 } },
                { "sh", "-c", daemon .. "echo up; sleep 60" }) })
            assert.equal("up", child:read().line)
            local pid = fs.read(dir / "pid"):match("%d+")
            child:kill("SIGKILL")
            task.timeout(10, function()
                while is_running(pid) do
                    task.sleep(0.01)
                end
            end)
            child:stop()
        end)
    end)

    it("keeps every listener on loopback and names the ports that were asked for", function()
        with_folder(function(dir)
            local given = free_port()
            local found, ports = python(dir, { { 8080, given } }, [[
def listener(kind, address, listens=True):
    s = socket.socket(kind, socket.SOCK_STREAM)
    if address: s.bind(address)
    if listens: s.listen()
    return s
a = listener(socket.AF_INET, ("0.0.0.0", 8080))
b = listener(socket.AF_INET6, ("::", 9090))
c = listener(socket.AF_INET, ("", 0))
d = listener(socket.AF_INET, None)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("0.0.0.0", 5353))
mine = {os.readlink("/proc/self/fd/%d" % s.fileno())[8:-1] for s in (a, b, c, d, u)}
real = []
for name in "tcp", "tcp6", "udp", "udp6":
    for line in list(open("/proc/net/" + name))[1:]:
        words = line.split()
        if words[9] in mine: real.append(words[1].split(":")[0])
client = socket.create_connection(("127.0.0.1", 9090))
print(json.dumps({"a": a.getsockname(), "b": b.getsockname()[:2], "c": c.getsockname()[0],
    "accepted": b.accept()[0].getsockname()[1], "real": sorted(real)}))
]])
            assert.same({ "0.0.0.0", 8080 }, found.a)
            assert.same({ "::", 9090 }, found.b)
            assert.equal("127.0.0.1", found.c)
            assert.equal(9090, found.accepted)
            assert.same({ "0000000000000000FFFF00000100007F", "0100007F", "0100007F", "0100007F",
                "0100007F" }, found.real)
            assert.equal("127.0.0.1:" .. given, machine_ports.address(ports, 8080, given))
            local shown = {}
            for i, port in ipairs(ports.list) do
                shown[i] = ("%s %s:%d"):format(port.proto, port.host, port.port)
            end
            assert.same({ "tcp 0.0.0.0:8080", "tcp [::]:9090", "udp 0.0.0.0:5353" }, shown)
        end)
    end)

    it("takes another port where somebody took the one that it was given", function()
        with_folder(function(dir)
            local stranger = assert(server_of.listen {})
            local found, ports = python(dir, { { 8080, stranger:port() } }, [[
s = socket.create_server(("0.0.0.0", 8080))
second = socket.socket()
second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
print(json.dumps({"second": second.connect_ex(("127.0.0.1", 8080)),
    "again": socket.socket().connect_ex(("127.0.0.1", 8080))}))
try:
    socket.create_server(("0.0.0.0", 8080))
    sys.exit("bound twice")
except OSError as e:
    assert e.errno == 98, e
]])
            stranger:close()
            assert.same({ second = 0, again = 0 }, found)
            assert.not_equal("127.0.0.1:" .. stranger:port(),
                machine_ports.address(ports, 8080, 1))
        end)
    end)

    it("reaches the outside also after a bind to any address", function()
        with_folder(function(dir)
            local own = proc.run({ argv = { PYTHON, "-I", "-c", "import socket\n"
                .. "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                .. "s.connect(('192.0.2.1', 9)); print(s.getsockname()[0], end='')" } })
            if own.status ~= 0 then
                return -- there is no network
            end
            local found = python(dir, { { 0, 0 } }, ([[
s = socket.socket()
s.bind(("0.0.0.0", 0))
print(json.dumps({"refused": s.connect_ex(("%s", 1)), "from": s.getsockname()[0]}))
]]):format(own.stdout))
            assert.equal(111, found.refused)
        end)
    end)

    it("runs the program where the system does not allow it to map ports", function()
        with_folder(function(dir)
            -- Only one filter of a process may ask.
            local inner = wrapped(dir, { { 8080, 1 } }, { "sh", "-c", "exit 3" })
            inner[1] = fs.real("/proc/self/exe")
            assert.equal(3, proc.run({ argv = machine_ports.wrap(inner, dir / "outer",
                { { 0, 0 } }) }).status)
            local ports = machine_ports.read(dir / "report")
            assert.matches("busy", ports.unsupported)
            assert.equal("127.0.0.1:1", machine_ports.address(ports, 8080, 1))
            assert.matches("must listen on the port in the variable PORT",
                machine_ports.warning(ports))
        end)
    end)
end)

describe("a blocking connect to a server that does not accept", function()
    full_it("does not stop the calls of others", function()
        with_folder(function(dir)
            local found = python(dir, { { 8080, free_port() } }, [[
import threading, time
server = socket.socket()
server.bind(("127.0.0.1", 8080))
server.listen(0)
held = []
def connect():
    s = socket.socket(); held.append(s)
    s.settimeout(None)
    s.connect_ex(("127.0.0.1", 8080))
for _ in range(3): threading.Thread(target=connect, daemon=True).start()
time.sleep(0.1)
began = time.time()
socket.socket().bind(("127.0.0.1", 9999))
print(json.dumps(time.time() - began), flush=True)
os._exit(0)
]])
            assert.is_true(found < 15, found)
        end)
    end)
end)
