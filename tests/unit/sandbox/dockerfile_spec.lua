local dockerfile = require "sandbox.dockerfile"
local dockerignore = require "sandbox.dockerignore"
local image_files = require "sandbox.image_files"

local function parse(lines, opts)
    return dockerfile.parse(table.concat(lines, "\n") .. "\n", opts)
end

describe("the last stage of a Dockerfile", function()
    it("has the environment with its variables", function()
        local recipe = parse { "ARG BASE=debian", "FROM ${BASE}", "ARG PORT=3000", "ARG BASE",
            "ENV A=1 B=\"two words\" C='$A'", "ENV old $A and more", "ENV D=$A-${B} \\",
            "# a comment in between", "    E=${NONE:-d $A} F=${A:+set} G=\\$A H=${NONE}",
            "ENV PATH=/app/.venv/bin:$PATH I=${PORT} J=$BASE A=9 K=$A L=" }
        assert.same({ A = "9", B = "two words", C = "$A", old = "1 and more", D = "1-two words",
            E = "d 1", F = "set", G = "$A", H = "", I = "3000", J = "debian", K = "1", L = "",
            PATH = "/app/.venv/bin:" .. dockerfile.BASE_PATH }, recipe.env)
    end)

    it("lets ENV win over ARG, and the build over a default", function()
        local text = { "FROM debian", "ARG A=file", "ARG B=file", "ENV B=env", "ENV C=$A-$B" }
        assert.equal("file-env", parse(text).env.C)
        assert.equal("given-env", parse(text, { args = { A = "given", B = "given" } }).env.C)
    end)

    it("has a folder, also by a relative WORKDIR", function()
        local recipe = parse { "FROM debian", "ENV D=srv", "WORKDIR /$D/", "WORKDIR ./web",
            "WORKDIR ../static" }
        assert.equal("/srv/static", recipe.workdir)
        assert.equal("/", parse({ "FROM debian" }).workdir)
    end)

    it("has a command in both forms", function()
        local recipe = parse { "FROM debian", 'ENTRYPOINT ["/bin/run", "-x"]',
            "CMD exec serve --port $PORT" }
        assert.same({ "/bin/run", "-x" }, recipe.entrypoint)
        assert.same({ "/bin/sh", "-c", "exec serve --port $PORT" }, recipe.cmd)
        recipe = parse { "FROM debian", 'SHELL ["/bin/bash", "-c"]', "CMD serve",
            "ENTRYPOINT run \\", "  it" }
        assert.same({ "/bin/bash", "-c", "run   it" }, recipe.entrypoint)
        assert.is_nil(recipe.cmd)
    end)

    it("goes on from an earlier stage, and forgets the others", function()
        local recipe = parse { "FROM debian AS base", "ENV A=1", "WORKDIR /base", "ARG X=1",
            "FROM debian AS other", "ENV B=1", "RUN make", "FROM base", "ENV C=$A$X", "RUN two" }
        assert.same({ A = "1", C = "1" }, recipe.env)
        assert.equal("/base", recipe.workdir)
        assert.equal(2, recipe.run)
        assert.same({ B = "1" }, parse({ "FROM a AS x", "ENV B=1", "FROM b", "ENV C=1" },
            { target = "x" }).env)
    end)

    it("reads here-documents as part of their instruction", function()
        local recipe = parse { "FROM debian", "RUN <<EOF", "CMD nothing", "EOF",
            "COPY <<-'END' /etc/site.conf", "\tlisten 8080", "\tEND", "CMD serve" }
        assert.same({ "/bin/sh", "-c", "serve" }, recipe.cmd)
        assert.same({ "listen 8080\n" }, recipe.copies[1].texts)
        assert.same({}, recipe.copies[1].sources)
    end)
end)

describe(".dockerignore", function()
    local function ignored(text, ...)
        local is_ignored = dockerignore.parse(text)
        local found = {}
        for _, path in ipairs { ... } do
            found[#found + 1] = is_ignored(path) and path or nil
        end
        return table.concat(found, " ")
    end

    it("leaves out files and folders, from the top or anywhere", function()
        assert.equal(".env scripts/x scripts/a/b", ignored(".env\nscripts/\n", ".env", "a/.env",
            "scripts/x", "scripts/a/b", "a/scripts/x"))
        assert.equal("a/x.pyc x.pyc", ignored("# all\n**/*.pyc\n", "a/x.pyc", "x.pyc", "x.py"))
        assert.equal("x.md", ignored("/*.md", "x.md", "doc/x.md"))
        assert.equal("a1 a/b/deep/c", ignored("a[0-9]\na/**/c", "a1", "ab", "a/b/deep/c"))
    end)

    it("lets the last pattern that matches decide", function()
        assert.equal("doc/a.md", ignored("doc\n!doc/keep.md\n", "doc/a.md", "doc/keep.md"))
        assert.equal("a", ignored("*\n!src/**\n", "a", "src/b/c"))
        assert.equal("", ignored(nil, "a"))
    end)
end)

describe("the files of an image", function()
    local context = { "Makefile", "app/main.py", "app/util/x.py", "requirements.txt",
        "static/index.html" }

    local function files(...)
        local image, missing = image_files.of(parse { "FROM debian", ... }, context)
        return image and image.files, missing or image
    end

    it("are those that COPY names, each at its place", function()
        assert.same({ ["/app/requirements.txt"] = "requirements.txt", ["/srv/index.html"]
            = "static/index.html" }, (files("WORKDIR /app", "COPY requirements.txt .",
            "COPY --chown=a:b --chmod=644 static /srv")))
        assert.same({ ["/app/main.py"] = "app/main.py", ["/app/util/x.py"] = "app/util/x.py",
            ["/other"] = "Makefile" }, (files("COPY app/ /app/", 'COPY ["Makefile", "/other"]')))
        assert.same({ ["/d/requirements.txt"] = "requirements.txt", ["/d/Makefile"] = "Makefile" },
            (files("ENV W=req", "COPY ${W}*.txt Make?ile /d/")))
        assert.equal("app/main.py", files("WORKDIR /w", "COPY . .")["/w/app/main.py"])
    end)

    it("are complete, or what is missing is named", function()
        local none, missing = files("COPY nowhere.txt .")
        assert.is_nil(none)
        assert.equal("nowhere.txt", missing)
    end)

    it("of another stage are known by their place", function()
        local _, image = files("WORKDIR /app", "COPY --from=builder /app/.venv /app/.venv",
            "COPY --from=builder /out/server /usr/local/bin/")
        assert.equal("builder", image.foreign["/app/.venv"])
        assert.equal("builder", image.foreign["/usr/local/bin/server"])
        assert.same({}, image.files)
    end)
end)
