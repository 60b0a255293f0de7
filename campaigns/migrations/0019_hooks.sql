-- What becomes of a campaign is noted for hooks in the transaction that makes it so, by whichever door.
CREATE FUNCTION campaigns_note_for_hooks(kind text, campaign campaigns_campaign) RETURNS void LANGUAGE sql AS $$
    INSERT INTO campaigns_hookevent (kind, campaign_id, at, facts)
    VALUES (kind, campaign.id, clock_timestamp(), jsonb_build_object('status', campaign.status,
        'waits_for', campaign.waits_for, 'ended_by', campaign.ended_by, 'ended_reason', campaign.ended_reason))
$$;

CREATE FUNCTION campaigns_tell_hooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.waits_for = 'approval' AND (TG_OP = 'INSERT' OR OLD.waits_for <> 'approval') THEN
        PERFORM campaigns_note_for_hooks('campaign.approval_wanted', NEW);
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN NULL;
    END IF;
    IF NEW.started_at IS NOT NULL AND OLD.started_at IS NULL THEN
        PERFORM campaigns_note_for_hooks('campaign.started', NEW);
    END IF;
    IF NEW.status = 'paused' AND OLD.status <> 'paused' AND NEW.paused_by = 'rollout' THEN
        PERFORM campaigns_note_for_hooks('campaign.waiting', NEW);
    END IF;
    IF NEW.ended_by = 'brake' AND OLD.ended_by <> 'brake' THEN
        PERFORM campaigns_note_for_hooks('campaign.braked', NEW);
    END IF;
    IF NEW.status IN ('completed', 'expired', 'stopped') AND OLD.status NOT IN ('completed', 'expired', 'stopped') THEN
        PERFORM campaigns_note_for_hooks('campaign.ended', NEW);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER hooks_hear_of_new_campaigns AFTER INSERT ON campaigns_campaign FOR EACH ROW
    WHEN (NEW.waits_for = 'approval') EXECUTE FUNCTION campaigns_tell_hooks();
-- Counts change with every batch of answers: those updates do not come by.
CREATE TRIGGER hooks_hear_of_campaigns AFTER UPDATE ON campaigns_campaign FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.waits_for <> NEW.waits_for OR OLD.ended_by <> NEW.ended_by
        OR OLD.started_at IS NULL AND NEW.started_at IS NOT NULL)
    EXECUTE FUNCTION campaigns_tell_hooks();
