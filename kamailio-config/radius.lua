-- For accounting.cfg: acc_rad_request() of a native script takes a fixed code, this one any.
function account(code)
    KSR.acc_radius.request(code .. " ended")
end
