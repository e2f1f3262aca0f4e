-- The routing script of lua.cfg.

function ksr_request_route()
    -- 1: ours, and dealt with. 0: the same, and somebody else answers (a retransmission, or a group that is being looked
    -- up). Either way there is nothing left to do. -1: not ours.
    if KSR.cpm.handle() >= 0 then
        return 1
    end
    KSR.sl.sl_send_reply(404, "Not Found")
    return 1
end

-- What native scripts write as event routes.
function cpm_event(name)
    if name == "cpm:authorize" then
        if KSR.pv.get("$cpm(originator)") == "sip:mallory@example.com" then
            KSR.set_drop()
        end
    elseif name == "cpm:recipient-failed" then
        KSR.notice("a recipient failed: " .. KSR.pv.get("$cpm(code)") .. " " .. KSR.pv.get("$cpm(reason)") .. "\n")
    end
    return 1
end
