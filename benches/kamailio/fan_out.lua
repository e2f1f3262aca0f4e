-- What an operator would write in Lua: the URIs of the list by a pattern, one uac_req_send() for each.

local function header(name)
    local value = KSR.pv.get("$hdr(" .. name .. ")")
    return value and (name .. ": " .. value .. "\r\n") or ""
end

function ksr_request_route()
    if KSR.tm.t_newtran() < 0 then
        return
    end
    local body = KSR.pv.get("$rb")
    KSR.pv.sets("$uac_req(method)", "MESSAGE")
    KSR.pv.sets("$uac_req(furi)", KSR.pv.get("$fu"))
    KSR.pv.sets("$uac_req(body)", body:match("message/cpim\r\n\r\n(.-)\r\n%-%-"))
    KSR.pv.sets("$uac_req(hdrs)",
        "Max-Forwards: 69\r\nMax-Breadth: 45\r\n"
        .. header("P-Asserted-Identity")
        .. "User-Agent: CPM-serv/OMA2.2\r\n"
        .. "Supported: recipient-list-message\r\n"
        .. header("Accept-Contact")
        .. "P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\r\n"
        .. header("Conversation-ID")
        .. header("Contribution-ID")
        .. "Content-Type: message/cpim\r\n")
    for uri in body:gmatch('<entry uri="(.-)"') do
        KSR.pv.sets("$uac_req(ruri)", uri)
        KSR.uac.uac_req_send()
    end
    KSR.tm.t_reply(202, "Accepted")
end
