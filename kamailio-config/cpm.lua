-- The routing script of lua.cfg.

function ksr_request_route()
    -- 1: it was for us, and is finished. 0: the same, but another process replies (a
    -- retransmission, or a group being looked up). In both cases nothing is left to do. -1: not for
    -- us.
    if KSR.cpm.handle() >= 0 then
        return 1
    end
    KSR.sl.sl_send_reply(404, "Not Found")
    return 1
end

-- The counterpart of event routes in native scripts.
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
