-- The commit that a machine runs. flyctl keeps metadata that it does not know when it updates a
-- machine, so `dgrun_commit` alone does not tell whether dgrun deployed what runs now.
local releases = require "dgrun.fly.releases"

local M = {}

local function is_commit(text)
    return type(text) == "string" and (#text == 40 or #text == 64) and text:match "^%x+$" ~= nil
end

---Did dgrun deploy this release? Its definition says so, under a key that flyctl drops.
---@param history table[] of releases.history
local function made_by_dgrun(history, id, commit)
    for _, release in ipairs(history) do
        local definition = release.id == id and release.configDefinition
        local note = type(definition) == "table" and definition.dgrun
        if type(note) == "table" then
            return note.commit == nil or note.commit == commit
        end
    end
    return false
end

---A function that tells the commit of a machine of the app; nil when it is unknown. It asks Fly for
---the releases only for a machine that does not say which release dgrun made.
---@param app string
---@return fun(machine: table): string?
function M.reader(app)
    local history
    local function is_trusted(metadata)
        local release, made = metadata.fly_release_id, metadata.dgrun_release
        if not release or made then
            return not release or made == release
        end
        history = history or releases.history(app)
        return made_by_dgrun(history, release, metadata.dgrun_commit)
    end
    return function(machine)
        local metadata = machine.config and machine.config.metadata or {}
        if is_commit(metadata.dgrun_commit) and is_trusted(metadata) then
            return metadata.dgrun_commit
        end
        -- The label that flyctl gives images that it builds in GitHub Actions.
        local labels = machine.image_ref and machine.image_ref.labels
        local label = type(labels) == "table" and labels.GH_SHA
        return is_commit(label) and label or nil
    end
end

---Was a machine updated by something else since dgrun deployed it?
---@param metadata table
---@return boolean
function M.is_foreign(metadata)
    return metadata.dgrun_release ~= nil and metadata.fly_release_id ~= nil
        and metadata.dgrun_release ~= metadata.fly_release_id
end

return M
