"""Tables of the English front end: abbreviations, acronyms, names that numerals follow."""

from __future__ import annotations

# Before a name: with a full stop, or without before a capital letter.
TITLES = {
    "dr": "doctor",
    "mr": "mister",
    "mrs": "missis",
    "ms": "miz",
    "messrs": "messers",
    "prof": "professor",
    "rev": "reverend",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "gov": "governor",
    "pres": "president",
    "capt": "captain",
    "col": "colonel",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "maj": "major",
    "adm": "admiral",
    "cmdr": "commander",
    "hon": "honorable",
    "mt": "mount",
    "ft": "fort",
}
# Without a full stop only these: the others are words ("rep", "gen") or units.
BARE_TITLES = ("dr", "mr", "mrs", "ms", "prof", "messrs", "mt", "st")
STREETS = {
    "st": "street",
    "dr": "drive",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "ln": "lane",
    "hwy": "highway",
    "sq": "square",
    "ct": "court",
}
# With a full stop, anywhere. The second table may end a sentence.
ABBREVIATIONS = {
    "vs": "versus",
    "approx": "approximately",
    "ca": "circa",
    "cf": "compare",
    "est": "established",
    "dept": "department",
    "govt": "government",
    "univ": "university",
    "assn": "association",
    "intl": "international",
    "natl": "national",
    "incl": "including",
    "excl": "excluding",
    "esp": "especially",
    "max": "maximum",
    "min": "minimum",
    "avg": "average",
    "temp": "temperature",
    "tel": "telephone",
    "ext": "extension",
    "viz": "namely",
    "jan": "January",
    "feb": "February",
    "apr": "April",
    "aug": "August",
    "sept": "September",
    "sep": "September",
    "oct": "October",
    "nov": "November",
    "dec": "December",
    "tues": "Tuesday",
    "thurs": "Thursday",
}
LAST_WORDS = {
    "etc": "et cetera",
    "inc": "incorporated",
    "ltd": "limited",
    "co": "company",
    "corp": "corporation",
    "bros": "brothers",
    "jr": "junior",
    "sr": "senior",
    "misc": "miscellaneous",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "hwy": "highway",
    "tbsp": "tablespoon",
    "tsp": "teaspoon",
}
# Before a number.
BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "fig": "figure",
    "figs": "figures",
    "vol": "volume",
    "vols": "volumes",
    "ch": "chapter",
    "sec": "section",
    "eq": "equation",
    "p": "page",
    "pp": "pages",
    "mar": "March",
    "jun": "June",
    "jul": "July",
}
# Of letters with a full stop each; others are said letter by letter.
DOTTED = {
    "e.g": "for example",
    "i.e": "that is",
    "o.k": "okay",
    "p.a": "per annum",
    "w.r.t": "with respect to",
}
# Words that begin a sentence: a full stop before one of them is one, after "U.S." for example.
STARTERS = frozenset(
    """a after all although an and another are as at because before both but by did do does each
    even every everyone for from had has have he her here his how however i if in is it its
    later many may maybe meanwhile more most my never no nobody not now of on once one only
    or our perhaps several she since so some soon still such that the their then there these
    they this those though thus to today was we were what when where which while who why
    will with yes yet you your""".split()
)
# "In St. Louis" is no street "In".
NOT_STREETS = frozenset("at in of from near to the and by with for about on sir dear mount".split())

MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

# Capitals that look like a word and are said letter by letter, or in a way of their own.
SPELLED = frozenset(
    """ACL ADD AKA AOL API ASAP BIO CAD CAN CEO CET CIA COO DIY DOA EPA ESP ETA EST FAQ FYI HIV ICU
    IDE IED IMO IPA IPO IRA IRC IRS ISO ISP LCD LED MIT OCD RSI SEO SOS SUV TBA TBD UCLA UFO
    UHF UML UPS URI URL USB USD USSR UTC VIP WTO ATP""".split()
) - {"ADD", "CAN", "BIO"}
SAID_AS = {
    "OK": "okay",
    "JSON": "jason",
    "JPEG": "jay peg",
    "JPG": "jay peg",
    "MPEG": "em peg",
    "GUI": "gooey",
    "ASCII": "asskey",
    "IEEE": "I triple E",
    "AAA": "triple ay",
    "WYSIWYG": "wizzy wig",
    "NVIDIA": "en vidia",
    "XBOX": "ex box",
    "LGBTQ": "L G B T Q",
    "PHD": "P H D",
}
# Two capitals are letters, but for these words, where the text is not all in capitals.
SHORT_WORDS = frozenset(
    """AH AM AN AS AT BE BY DO EH GO HA HE HI HO IF IN IS IT LO ME MY NO OF OH ON OR OX PA SO TO UH
    UM UP WE YE YO""".split()
)
# Behind one of these a single capital A is a letter.
BEFORE_LETTERS = "vitamin|plan|grade|type|class|group|section|hepatitis|exhibit|appendix|point|team"
KINGS = frozenset(
    """Henry Louis Charles George Edward James William Elizabeth Mary Richard John Paul Pius
    Benedict Leo Gregory Innocent Clement Urban Alexander Napoleon Frederick Friedrich
    Wilhelm Catherine Peter Nicholas Ivan Philip Ferdinand Otto Ramesses Ramses Ptolemy
    Francis Felipe Carlos Juan Pedro Gustav Christian Haakon Olaf Margrethe Constantine
    Theodosius Justinian Darius Xerxes Antiochus Amenhotep Thutmose Leopold Albert Rainier
    Maximilian Rudolf Sigismund Boniface Sixtus Julius Adrian Robert Victoria Anne Isabella
    Selim Murad Mehmed Suleiman Vittorio Emmanuel Umberto Bonaparte Rudolph Theodore Harald
    Sverre Magnus Eric Erik Stephen Casimir""".split()
)
PARTS = (
    "chapter|part|volume|book|act|scene|section|title|article|appendix|phase|stage|type|class|level|"
    "grade|war|bowl|episode|round|unit|figure|table|page|psalm|canto|verse|division|tier|group|"
    "category|series|season|apollo|rocky|symphony|olympiad|games|item|step|schedule|annex"
)
TOP_DOMAINS = (
    "com|org|net|edu|gov|mil|int|io|ai|app|dev|info|biz|tv|"
    "uk|de|fr|nl|eu|ch|es|jp|cn|ca|au|nz|ie|rs"
)
FILE_ENDINGS = "pdf|txt|wav|flac|mp3|mp4|py|js|ts|json|html|css|zip|exe|jpg|png|csv|md|doc|docx|xml"
# Clusters of consonants that English words begin and end with: capitals with others are letters.
ONSETS = frozenset(
    """b bl br c ch chl chr cl cr d dr dw f fl fr g gh gl gn gr gw h j k kh kl kn kr kw l ll m n p
    ph phl phr pl pn pr ps q r rh s sc sch schl schm schn schr schw scr sh shr sk sl sm sn
    sp sph spl spr sq st str sv sw t th thr thw tr ts tw v vl w wh wr x z zh zw""".split()
)
CODAS = frozenset(
    """b bb bbs bs bt bts c ch chs ck cks cs ct cts d dd dds dge dn ds dst dth dths dt f ff ffs fs
    ft fth fts g gg ggs gh ghs ght ghts gn gns gs h hl hm hn hr hs k ks l ld lds lf lfs lk
    lks ll lls lm lms ln lp lps lpt ls lsh lt lth lths lts lv m mb mbs mm mn mns mp mph mphs
    mps mpt mpts ms n nc nch nct ncts nd nds ndt ng ngs ngst ngth ngths nk nks nn nns ns nst
    nt nth nths nts ntz nx nz p pf ph phs pp pps ps pse pt pth pths pts r rb rbs rc rch rd
    rds rf rfs rg rgh rgs rk rks rl rld rlds rls rm rms rmth rn rns rnt rp rps rpt rr rrs rs
    rsh rst rsts rt rth rths rts rtz rv rz s sc sch sh sk sks sm sms sp sps ss st sts t tch
    th thm thms ths ts tt tts tz v w wd wds wk wks wl wls wn wns ws wth x xt xth xts z zz""".split()
)
